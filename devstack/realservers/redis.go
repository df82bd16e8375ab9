package realservers

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// RedisOptions change what [StartRedis] starts; the zero value suits a test.
type RedisOptions struct {
	// Args are added to the command line, such as "--maxmemory", "8mb". They
	// cannot set a password: the start waits for an answer without one. Use
	// ACL SETUSER once it runs.
	Args []string
	// TLS, when set, opens a second port that wants TLS; see [RedisServer.TLSAddr].
	TLS *RedisTLS
}

// RedisTLS are PEM files.
type RedisTLS struct {
	CertFile, KeyFile string
	// ClientCAFile signs the certificates that clients have to show.
	ClientCAFile string
}

// RedisServer is one redis-server without persistence: a restart comes back
// empty. Its methods may be called from any goroutine.
type RedisServer struct {
	// Addr is host:port, the same after a restart.
	Addr string
	// TLSAddr is the same for the port with TLS, if there is one.
	TLSAddr string
	// Socket is the path of its Unix socket.
	Socket  string
	process *process
}

// URL is redis://Addr.
func (s *RedisServer) URL() string { return "redis://" + s.Addr }

// StartRedis starts a redis-server in dir and returns when it answers.
func StartRedis(ctx context.Context, dir string, opts RedisOptions) (*RedisServer, error) {
	bin, err := findRedis()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	for attempt := 1; ; attempt++ {
		s, err := startRedis(ctx, dir, bin, opts)
		if !portTaken(err) || attempt == startAttempts {
			return s, err
		}
	}
}

func startRedis(ctx context.Context, dir, bin string, opts RedisOptions) (*RedisServer, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	port := strconv.Itoa(ports[0])
	// Relative, because a socket's path may be no longer than some 100 bytes
	// and a test's folder is often longer.
	args := append([]string{
		"--bind", "127.0.0.1", "--port", port, "--unixsocket", "redis.sock", "--dir", dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "",
	}, opts.Args...)
	var tlsAddr string
	if t := opts.TLS; t != nil {
		port := strconv.Itoa(ports[1])
		tlsAddr = net.JoinHostPort("127.0.0.1", port)
		args = append(args, "--tls-port", port, "--tls-cert-file", t.CertFile, "--tls-key-file", t.KeyFile,
			"--tls-ca-cert-file", t.ClientCAFile, "--tls-auth-clients", "yes")
	}
	s := &RedisServer{
		TLSAddr: tlsAddr,
		Addr:    net.JoinHostPort("127.0.0.1", port),
		Socket:  filepath.Join(dir, "redis.sock"),
		process: &process{name: "redis-server", bin: bin, args: args, dir: dir},
	}
	if err := s.process.start(ctx, s.ready); err != nil {
		return nil, err
	}
	return s, nil
}

// ready asks with Redis's inline protocol, so that no client is needed.
func (s *RedisServer) ready(ctx context.Context, pid int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("connect to redis-server: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("connect to redis-server: %w", err)
		}
	}
	if _, err := conn.Write([]byte("INFO server\r\n")); err != nil {
		return fmt.Errorf("ask redis-server: %w", err)
	}
	// A bulk string: $length, then lines of name:value.
	want := fmt.Sprintf("process_id:%d", pid)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == want:
			return nil
		case strings.HasPrefix(line, "-"):
			return fmt.Errorf("redis-server answers %s", line)
		case strings.HasPrefix(line, "process_id:"):
			return errors.New("another Redis has the port")
		}
	}
	return fmt.Errorf("redis-server did not tell its process id: %w", cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
}

// PID is the server's process id, 0 while it does not run.
func (s *RedisServer) PID() int { return s.process.pid() }

// Kill ends the server as a crash would (SIGKILL) and returns when it is gone.
func (s *RedisServer) Kill() error { return s.process.kill() }

// Stop ends the server in order. Stopping one that has ended is no error.
func (s *RedisServer) Stop() error { return s.process.stop() }

// Restart starts the server again on its address, empty, after stopping it if
// it still runs.
func (s *RedisServer) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.process.start(ctx, s.ready)
}

func findRedis() (string, error) {
	if bin, err := exec.LookPath("redis-server"); err == nil {
		return bin, nil
	}
	// Debian puts it where an ordinary user's PATH may not lead.
	for _, bin := range []string{"/usr/bin/redis-server", "/usr/sbin/redis-server", "/usr/local/bin/redis-server"} {
		if _, err := os.Stat(bin); err == nil {
			return bin, nil
		}
	}
	return "", errors.New("redis-server was not found: install it (Debian and Ubuntu: apt-get install redis-server)")
}
