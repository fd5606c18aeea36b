module provision.example/pause

go 1.24.0
