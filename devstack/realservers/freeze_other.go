//go:build !unix

package realservers

import "syscall"

// There is nothing like SIGSTOP here; sending these fails.
const (
	freeze = syscall.Signal(19)
	thaw   = syscall.Signal(18)
)
