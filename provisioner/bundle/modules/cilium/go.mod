module provision.example/cilium

go 1.25.0

require github.com/cilium/cilium v1.16.5
