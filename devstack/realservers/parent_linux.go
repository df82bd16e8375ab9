package realservers

import "syscall"

// diesWithParent has the kernel kill the child when we end, even by SIGKILL or
// a test's timeout.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// attributes has a child run as the account, and die with us.
func (a *account) attributes() *syscall.SysProcAttr {
	attributes := diesWithParent()
	if a != nil {
		attributes.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attributes
}
