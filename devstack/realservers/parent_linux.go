package realservers

import "syscall"

// diesWithParent has the kernel kill the child when we end, even by SIGKILL or
// a test's timeout.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
