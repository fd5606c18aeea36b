// Pause is the first process of a pod's sandbox: it holds the namespaces, takes in orphans and waits to be told to end.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

// reap collects every child that has ended. In a pod with a shared process namespace pause is process 1.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
	}
}

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	// A child may have ended before Notify took effect.
	reap()
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		reap()
	}
}
