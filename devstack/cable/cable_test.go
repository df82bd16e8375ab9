package cable_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/devstack/cable"
)

// dial opens one connection over a cable; the server echoes.
func dial(t *testing.T, c *cable.Cable) net.Conn {
	t.Helper()
	conn, err := c.Dial(t.Context(), "tcp", "anywhere")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func echo(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go func() { _, _ = io.Copy(there, there) }()
	return here, nil
}

func says(conn net.Conn) error {
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func TestInterruptedCableOpensOthers(t *testing.T) {
	c := cable.New(echo)
	old := dial(t, c)
	c.Interrupt()
	if says(old) == nil {
		t.Error("an interrupted connection goes on")
	}
	again := dial(t, c)
	if err := says(again); err != nil {
		t.Errorf("no new connection works: %v", err)
	}
	c.Cut()
	if says(again) == nil {
		t.Error("a connection goes on over a cable that is cut")
	}
	if _, err := c.Dial(t.Context(), "tcp", "anywhere"); !errors.Is(err, cable.ErrCut) {
		t.Errorf("dial over a cable that is cut: %v", err)
	}
}

func TestLongCableTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cable.Long(echo, time.Millisecond)
		conn := dial(t, c)
		defer c.Cut()
		began := time.Now()
		if err := says(conn); err != nil || time.Since(began) != time.Millisecond {
			t.Errorf("took %s, %v", time.Since(began), err)
		}
	})
}

func TestFrozenCableGoesOnLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cable.New(echo)
		conn := dial(t, c)
		defer c.Cut()
		c.Freeze(time.Minute)
		began := time.Now()
		if err := says(conn); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %s", took)
		}
	})
}
