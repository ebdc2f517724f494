package wire_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/iam-relay/iam-relay/integration/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what must happen, silence for what must not: the shorter of the two can only hide a failure.
const (
	patience = 10 * time.Second
	silence  = 100 * time.Millisecond
)

// start makes a wire to a server that sends back what it gets.
func start(t *testing.T) *wire.Wire {
	t.Helper()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	w, err := wire.Start(echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { echo.Close() })
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func dial(t *testing.T, w *wire.Wire) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", w.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// hears wants a text to arrive.
func hears(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	buffer := make([]byte, len(text))
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, buffer); err != nil || string(buffer) != text {
		t.Fatalf("%q arrived, not %q (%v)", buffer, text, err)
	}
}

// silent wants nothing to arrive for a while, not even an end.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes arrived (%v)", n, err)
	}
}

// ends wants the connection's end, and returns it.
func ends(t *testing.T, conn net.Conn) error {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("it has not ended: %d bytes (%v)", n, err)
	}
	return err
}

func TestCarry(t *testing.T) {
	w := start(t)
	conn := dial(t, w)
	send(t, conn, "hello")
	hears(t, conn, "hello")
	send(t, conn, "last")
	if err := conn.CloseWrite(); err != nil { // the way back stays
		t.Fatal(err)
	}
	hears(t, conn, "last")
	if err := ends(t, conn); !errors.Is(err, io.EOF) {
		t.Errorf("it ended with %v", err)
	}
	if c := w.Counts(); c.Connections != 1 || c.Up != 9 || c.Down != 9 || c.Refused+c.Reset != 0 {
		t.Errorf("%+v", c)
	}
}

func TestFreeze(t *testing.T) {
	for name, d := range map[string]wire.Direction{"up": wire.Up, "down": wire.Down, "both": wire.Both} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			old := dial(t, w)
			send(t, old, "before")
			hears(t, old, "before")
			w.Freeze(d)
			late := dial(t, w)
			for _, conn := range []net.Conn{old, late} {
				send(t, conn, "kept")
				silent(t, conn)
			}
			if c := w.Counts(); (c.Up == 6) != (d&wire.Up != 0) || c.Down != 6 {
				t.Errorf("%+v", c)
			}
			w.Thaw()
			hears(t, old, "kept")
			hears(t, late, "kept")
		})
	}
}

func TestStrand(t *testing.T) {
	w := start(t)
	old := dial(t, w)
	send(t, old, "before")
	hears(t, old, "before")
	w.Strand()
	w.Thaw() // changes nothing
	send(t, old, "lost")
	if err := old.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	silent(t, old)
	late := dial(t, w)
	send(t, late, "works")
	hears(t, late, "works")
	silent(t, old)
}

// refused wants a new connection to come to nothing, during its making or right after.
func refused(t *testing.T, w *wire.Wire) {
	t.Helper()
	if conn, err := net.Dial("tcp", w.Address()); err == nil {
		defer conn.Close()
		ends(t, conn)
	}
}

func TestCut(t *testing.T) {
	w := start(t)
	old := dial(t, w)
	send(t, old, "before")
	hears(t, old, "before")
	w.Cut()
	if err := ends(t, old); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("it ended with %v", err)
	}
	refused(t, w)
	if c := w.Counts(); c.Reset != 1 || c.Refused != 1 || c.Connections != 1 {
		t.Errorf("%+v", c)
	}
	w.Restore()
	late := dial(t, w)
	send(t, late, "works")
	hears(t, late, "works")
}

func TestSlow(t *testing.T) {
	const late = 200 * time.Millisecond
	for name, pace := range map[string]wire.Pace{"latency": {Latency: late}, "rate": {BytesPerSecond: 50}} {
		for way, d := range map[string]wire.Direction{"up": wire.Up, "down": wire.Down} {
			t.Run(name+" "+way, func(t *testing.T) {
				w := start(t)
				conn := dial(t, w)
				w.Slow(d, pace)
				began := time.Now()
				send(t, conn, "ten bytes.")
				hears(t, conn, "ten bytes.")
				if took := time.Since(began); took < late {
					t.Errorf("it took %s", took)
				}
				w.Slow(wire.Both, wire.Pace{})
				send(t, conn, "fast")
				hears(t, conn, "fast")
			})
		}
	}
}

func TestRefusesWhereNothingListens(t *testing.T) {
	w, err := wire.Start("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	refused(t, w)
	if c := w.Counts(); c.Refused != 1 {
		t.Errorf("%+v", c)
	}
}
