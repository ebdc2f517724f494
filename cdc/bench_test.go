package cdc_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// BenchmarkStream_Backlog reads one-row transactions that wait in the slot, over the server's Unix socket.
func BenchmarkStream_Backlog(b *testing.B) {
	const transactions = 100_000
	database := clustertest.Database(b)
	conn, err := pgx.Connect(b.Context(), database)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	exec := func(sql string) {
		if _, err := conn.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	exec(`CREATE TABLE users (id int PRIMARY KEY, name text, bio text, secret text)`)
	if _, err := cdc.EnsurePublication(b.Context(), conn, "bench", []*cdc.Table{users}); err != nil {
		b.Fatal(err)
	}
	url := clustertest.Cluster(b).SocketURL(conn.Config().Database)
	slot := fmt.Sprintf("cdc_bench_%d", slots.Add(1))
	snapshot, err := cdc.CreateSlot(b.Context(), url, slot, false)
	if err != nil {
		b.Fatal(err)
	}
	snapshot.Close()
	exec(`SET synchronous_commit = off`)
	exec(fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP
		INSERT INTO users VALUES (i, 'alice', 'alice@example.com', 'secret'); COMMIT; END LOOP; END $$`, transactions))
	// Nothing is acknowledged, so every iteration reads the same transactions.
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		source := cdc.NewSource(cdc.SourceConfig{URL: url, Slot: slot, Publication: "bench", Tables: []*cdc.Table{users}})
		messages, done := make(chan cdc.Message, 256), make(chan error, 1)
		go func() { done <- source.Stream(ctx, snapshot.LSN, messages) }()
		for got := 0; got < transactions; {
			select {
			case m := <-messages:
				if m.Transaction != nil {
					got += m.Transaction.Len()
				}
			case err := <-done:
				b.Fatal(err)
			}
		}
		cancel()
		<-done
		for released := false; !released; {
			status, err := cdc.Slot(b.Context(), conn, slot)
			if err != nil {
				b.Fatal(err)
			}
			released = !status.Active
		}
	}
	b.ReportMetric(transactions*float64(b.N)/b.Elapsed().Seconds(), "transactions/s")
}
