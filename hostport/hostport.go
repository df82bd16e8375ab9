// Package hostport judges hosts and addresses of the form host:port: whether
// there is anything to dial, and whether it is this machine; what is only for
// this machine may do without TLS, keys and tokens. Nothing is looked up.
package hostport

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// CanBeDialed reports whether an address has a host and a port by its number:
// what a client would otherwise only find out about when it dials, and the host
// that is left out, which to it is this machine.
func CanBeDialed(address string) bool {
	host, port, err := net.SplitHostPort(address)
	n, notANumber := strconv.ParseUint(port, 10, 16)
	return err == nil && notANumber == nil && n > 0 && host != "" && !strings.ContainsFunc(host, unicode.IsSpace)
}

// IsLocal reports whether only this machine reaches a host, which has no port. An
// empty one means every interface.
func IsLocal(host string) bool {
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
