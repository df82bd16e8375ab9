// Package localhost tells this machine from others, by name or address: what
// is only for this machine may do without TLS, keys and tokens. Nothing is
// looked up.
package localhost

import (
	"net"
	"net/netip"
	"strings"
)

// Is reports whether only this machine reaches a host, which has no port. An
// empty one means every interface.
func Is(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// CannotBeRebound reports whether a browser that asks for a host, with or
// without a port, can only mean this machine when it comes to a loopback
// address. Somebody else's page can have its own name lead there and read the
// answers (DNS rebinding); nobody can do that to an address, or to localhost.
func CannotBeRebound(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
