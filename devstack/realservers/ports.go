package realservers

import (
	"fmt"
	"net"
	"strings"
)

// startAttempts is how often to begin again with other ports, should somebody
// else take one between our finding it free and the server's binding it.
const startAttempts = 3

// freePorts finds n ports of 127.0.0.1 that nobody listens on.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding to loopback does not wait
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		// Held until all are found, so that they differ.
		defer l.Close()
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("find a free port: %v has none", l.Addr())
		}
		ports[i] = addr.Port
	}
	return ports, nil
}

// portTaken recognises the error of a server that could not bind.
func portTaken(err error) bool {
	return err != nil && strings.Contains(strings.ToLower(err.Error()), "address already in use")
}
