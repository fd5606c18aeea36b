module provision.example/flannel

go 1.25.0

require (
	github.com/flannel-io/flannel v0.28.4
	github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common v1.3.103
)
