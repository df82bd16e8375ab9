package realservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
)

// Postgres is a PostgreSQL server with logical decoding, on a cluster of its
// own. Its methods may be called from any goroutine.
type Postgres struct {
	// Port is that of 127.0.0.1 that it listens on.
	Port    int
	psql    string
	process *process
}

// superuser owns the cluster. Nobody is asked for a password on loopback.
const superuser = "chunktide"

// RunPostgres starts a PostgreSQL server for the test and kills it at the end.
// The server refuses to run as root: then it runs as the user postgres or
// nobody, in a folder of its own under the system's one for temporary files.
func RunPostgres(t testing.TB) *Postgres {
	t.Helper()
	dir, err := os.MkdirTemp("", "chunktide-postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p, err := startPostgres(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endWithTest(t, p.process) })
	return p
}

func startPostgres(ctx context.Context, dir string) (*Postgres, error) {
	bin, psql, err := findPostgres()
	if err != nil {
		return nil, err
	}
	as, err := ordinaryUser()
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	if as != nil {
		if err := os.Chown(dir, as.uid, as.gid); err != nil {
			return nil, fmt.Errorf("start postgres: %w", err)
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, as.attributes()
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a PostgreSQL cluster: %w: %s", err, out)
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	p := &Postgres{Port: ports[0], psql: psql, process: &process{
		name: "postgres", bin: filepath.Join(bin, "postgres"), dir: dir, as: as,
		args: []string{
			"-D", data, "-p", strconv.Itoa(ports[0]), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + dir,
			"-c", "wal_level=logical", "-c", "fsync=off",
		},
	}}
	if err := p.process.start(ctx, func(ctx context.Context, _ int) error {
		return p.Psql(ctx, "postgres", "SELECT 1").Run()
	}); err != nil {
		return nil, err
	}
	return p, nil
}

// Psql is a command that runs SQL in a database, one transaction for each
// statement, and prints bare values, with | between columns. Without SQL it
// reads standard input.
func (p *Postgres) Psql(ctx context.Context, database string, sql ...string) *exec.Cmd {
	args := []string{"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(p.Port), "-U", superuser, "-d", database}
	for _, statement := range sql {
		args = append(args, "-c", statement)
	}
	return exec.CommandContext(ctx, p.psql, args...)
}

// findPostgres returns the folder of the server's programs, and the client.
func findPostgres() (bin, psql string, err error) {
	// Debian keeps the server's off the PATH, a folder for each version.
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		bin = filepath.Dir(found[len(found)-1])
	} else if initdb, err := exec.LookPath("initdb"); err == nil {
		bin = filepath.Dir(initdb)
	}
	if psql, err = exec.LookPath("psql"); err != nil {
		psql = filepath.Join(bin, "psql")
		_, err = os.Stat(psql)
	}
	if bin == "" || err != nil {
		return "", "", errors.New("PostgreSQL was not found: run make setup-cdc, or install it (Debian and Ubuntu: apt-get install postgresql)")
	}
	return bin, psql, nil
}

// account is another user that a process runs as; nil is ourselves.
type account struct{ uid, gid int }

// ordinaryUser is nil unless we are root.
func ordinaryUser() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		return &account{uid, gid}, errors.Join(uidErr, gidErr)
	}
	return nil, errors.New("there is no user postgres or nobody, and PostgreSQL does not run as root: run the test as another user")
}
