//go:build !linux

package realservers

import "syscall"

// diesWithParent does nothing: only Linux can tie a child's life to ours.
// Elsewhere a test that is killed leaves its servers behind.
func diesWithParent() *syscall.SysProcAttr { return nil }

// attributes keeps our own account, so that only Linux can start PostgreSQL as
// root.
func (a *account) attributes() *syscall.SysProcAttr { return diesWithParent() }
