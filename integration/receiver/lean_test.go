package receiver_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

func startLean(t testing.TB) *receiver.Lean {
	t.Helper()
	l, err := receiver.StartLean(receiver.LeanAnswer{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func post(ctx context.Context, c *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return err
}

func TestLean_CountsEveryRequestOfEveryConnection(t *testing.T) {
	t.Parallel()
	l := startLean(t)
	c := client(t)
	var sending sync.WaitGroup
	for range 4 {
		sending.Go(func() {
			for range 250 {
				if err := post(t.Context(), c, l.URL()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if err := l.Wait(t.Context(), 500); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	sending.Wait()
	if l.Count() != 1000 {
		t.Errorf("%d requests are counted", l.Count())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := l.Wait(ctx, 1001); err == nil || !strings.Contains(err.Error(), "after 1000") {
		t.Errorf("waiting for one more: %v", err)
	}
}

func TestLean_HangsUpOnWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	l := startLean(t)
	for _, request := range []string{
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
		"\r\n",
		strings.Repeat("x", 64<<10),
	} {
		connection, err := net.Dial("tcp", strings.Trim(l.URL(), "htp:/"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connection.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		if answer, _ := io.ReadAll(connection); len(answer) > 0 {
			t.Errorf("%.40q is answered with %q", request, answer)
		}
		connection.Close()
	}
	if l.Count() != 0 {
		t.Errorf("%d requests are counted", l.Count())
	}
}

// BenchmarkLean is the upper bound of what a benchmark of a sender can show against it.
func BenchmarkLean(b *testing.B) {
	l := startLean(b)
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer c.CloseIdleConnections()
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := post(b.Context(), c, l.URL()); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(l.Count())/b.Elapsed().Seconds(), "requests/s")
}
