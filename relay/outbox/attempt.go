package outbox

import (
	"time"

	"github.com/jackc/pgx/v5"
)

// Attempt is an attempt to deliver an event to a webhook.
type Attempt struct {
	Event, Webhook int64
	Number         int // from 1
	At             time.Time
	Duration       time.Duration
	Class          string
	Status         int    // HTTP status; 0 without an answer
	Response       string // the first bytes of an answer that is not a success
	Error          string // why it failed; contains nothing secret
	Phases         Phases
}

// Phases are the durations of the phases of an attempt; 0 if there was none, as on a reused connection.
type Phases struct{ DNS, Connect, TLS, FirstByte time.Duration }

func (d *Delivery) queueAttempts(batch *pgx.Batch) {
	size := func(i int) int {
		return 100 + len(d.Attempts[i].Class) + len(d.Attempts[i].Response) + len(d.Attempts[i].Error)
	}
	eachPiece(len(d.Attempts), size, func(from, to int) { queueAttempts(batch, d.Attempts[from:to]) })
}

func queueAttempts(batch *pgx.Batch, attempts []Attempt) {
	n := len(attempts)
	events, webhooks, micros := make([]int64, n), make([]int64, n), make([]int64, n)
	numbers, statuses := make([]int32, n), make([]int32, n)
	at, classes, responses, errs := make([]time.Time, n), make([]string, n), make([]*string, n), make([]*string, n)
	dns, connect, tls, first := make([]*int32, n), make([]*int32, n), make([]*int32, n), make([]*int32, n)
	for i := range attempts {
		a := &attempts[i]
		events[i], webhooks[i], micros[i] = a.Event, a.Webhook, a.Duration.Microseconds()
		numbers[i], statuses[i], at[i], classes[i] = int32(a.Number), int32(a.Status), a.At, a.Class
		responses[i], errs[i] = textOrNull(&a.Response), textOrNull(&a.Error)
		dns[i], connect[i], tls[i], first[i] = phase(a.Phases.DNS), phase(a.Phases.Connect), phase(a.Phases.TLS), phase(a.Phases.FirstByte)
	}
	batch.Queue(`INSERT INTO attempt (day, event, webhook, number, at, micros, class, status, response, error, dns, connect, tls, first_byte)
		SELECT `+today+`, * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::timestamptz[], $5::bigint[], $6::text[], $7::int[], $8::text[],
			$9::text[], $10::int[], $11::int[], $12::int[], $13::int[])`,
		events, webhooks, numbers, at, micros, classes, statuses, responses, errs, dns, connect, tls, first)
}

func textOrNull(text *string) *string {
	if *text == "" {
		return nil
	}
	return text
}

func phase(d time.Duration) *int32 {
	if d <= 0 {
		return nil
	}
	micros := int32(min(d.Microseconds(), 1<<31-1))
	return &micros
}
