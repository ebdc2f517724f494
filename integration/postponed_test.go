package integration_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A table has to be read again while another transaction, of a table that is not mapped, stays open: the relay goes on streaming, names
// that transaction, and compares when it has ended.
func TestPostponed_AnOpenTransactionDoesNotStopTheStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := &account{}
	p := start(t, w.config().webhook(w.hook, "/all"))
	w.createUser(all, 1)
	all.arrives(t, w.hook, "/all")
	w.exec(`CREATE TABLE elsewhere (id int)`)
	conn, err := pgx.Connect(t.Context(), w.url+"&application_name=batch")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `BEGIN; INSERT INTO elsewhere VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	w.exec(`ALTER TABLE users ALTER firstname TYPE text USING firstname || '!'`)
	p.waitFor(within(t), fmt.Sprintf("the table snapshot waits for the transaction of process %d, user postgres", conn.PgConn().PID()))
	p.waitFor(within(t), `application \"batch\"`)
	for n := range 5 {
		w.createUser(all, 10+n)
	}
	all.arrives(t, w.hook, "/all")
	if _, err := conn.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	p.waitFor(within(t), "reconciliation finished")
}
