package mappingcase

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// run is a case in its database.
type run struct {
	c           *Case
	url         string
	name        string // of the slot
	publication string
	conn        *pgx.Conn
	rules       *mapping.Rules
	mapper      *mapping.Mapper
	catalog     *cdc.Catalog
	mirror      mirror
	ends        []cdc.LSN // the end of the WAL after each transaction of the case
	got         [][]string
	delayed     map[string]string // names of delayed events, by what cancels them
	explain     func(Explanation) // nil: nobody asks
}

// Run runs the case in a new database of the server, which it drops again, and returns the lines that each transaction made.
func (c *Case) Run(ctx context.Context, server string, rules *mapping.Rules) (got [][]string, err error) {
	return c.run(ctx, server, rules, nil)
}

// Explain runs the case as Run does, and explains each transaction that changed mapped tables.
func (c *Case) Explain(ctx context.Context, server string, rules *mapping.Rules, each func(Explanation)) error {
	_, err := c.run(ctx, server, rules, each)
	return err
}

func (c *Case) run(ctx context.Context, server string, rules *mapping.Rules, explain func(Explanation)) (got [][]string, err error) {
	url, name, drop, err := createDatabase(ctx, server)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	r := &run{c: c, url: url, name: name, publication: name, rules: rules, mirror: mirror{}, got: make([][]string, len(c.Transactions)), delayed: map[string]string{}, explain: explain}
	if r.conn, err = connect(ctx, url); err != nil {
		return nil, err
	}
	defer r.conn.Close(context.WithoutCancel(ctx))
	if err := r.execute(ctx, c.setup); err != nil {
		return nil, fmt.Errorf("%s: before the first transaction: %w", c.Path, err)
	}
	from, err := r.prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	for _, t := range c.Transactions {
		if err := r.execute(ctx, "BEGIN;\n"+t.SQL+"\n;COMMIT"); err != nil {
			return nil, fmt.Errorf("%s: transaction %q: %w", c.Path, t.Title, err)
		}
		server, err := cdc.InspectServer(ctx, r.conn)
		if err != nil {
			return nil, err
		}
		r.ends = append(r.ends, server.Current)
	}
	if err := r.read(ctx, from, r.consume); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	return r.got, nil
}

func (r *run) execute(ctx context.Context, sql string) error {
	_, err := r.conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// prepare binds the mapping, creates the publication and the slot, and reads the rows that exist already.
func (r *run) prepare(ctx context.Context) (from cdc.LSN, err error) {
	conn, err := cdc.Connect(ctx, r.url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tables := r.rules.Tables()
	if r.catalog, err = cdc.ReadCatalog(ctx, conn, tables); err != nil {
		return 0, err
	}
	var relations []*cdc.Relation
	for _, t := range tables {
		if relation := r.catalog.Relation(t); relation != nil {
			relations = append(relations, relation)
		}
	}
	if r.mapper, err = mapping.Bind(r.rules, relations); err != nil {
		return 0, err
	}
	for _, p := range r.catalog.Problems() {
		return 0, errors.New(p.String())
	}
	if _, err := cdc.EnsurePublication(ctx, conn, r.publication, r.catalog.Usable(tables)); err != nil {
		return 0, err
	}
	snapshot, err := cdc.CreateSlot(ctx, r.url, r.name, false)
	if err != nil {
		return 0, err
	}
	defer snapshot.Close()
	for _, relation := range relations {
		if err := snapshot.Copy(ctx, relation.Table, func(row cdc.Row) error { return r.mirror.put(relation.Table, row) }); err != nil {
			return 0, err
		}
	}
	return snapshot.LSN, nil
}

// read streams from the slot until consume returns.
func (r *run) read(ctx context.Context, from cdc.LSN, consume func(*cdc.Source, <-chan cdc.Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	source := cdc.NewSource(cdc.SourceConfig{URL: r.url, Slot: r.name, Publication: r.publication, Tables: r.rules.Tables(), Catalog: r.catalog})
	messages, ended := make(chan cdc.Message), make(chan error, 1)
	go func() {
		ended <- source.Stream(ctx, from, messages)
		close(messages)
	}()
	err := consume(source, messages)
	cancel()
	for m := range messages { // Stream may wait for a reader.
		if m.Transaction != nil {
			err = errors.Join(err, m.Transaction.Close())
		}
	}
	if streamed := <-ended; err == nil && !errors.Is(streamed, context.Canceled) {
		err = streamed
	}
	return err
}

// consume maps all transactions up to the last one of the case.
func (r *run) consume(source *cdc.Source, messages <-chan cdc.Message) error {
	last := r.ends[len(r.ends)-1]
	source.Ping()
	for m := range messages {
		if m.Transaction == nil {
			if m.Idle >= last {
				return nil
			}
			source.Ping()
			continue
		}
		err := r.note(m.Transaction)
		if err = errors.Join(err, m.Transaction.Close()); err != nil {
			return err
		}
		if m.Transaction.End >= last {
			return nil
		}
	}
	return nil // Stream returns the reason.
}

// note maps a transaction of the WAL, and adds its events to those of the case's transaction.
func (r *run) note(tx *cdc.Transaction) error {
	step := slices.IndexFunc(r.ends, func(end cdc.LSN) bool { return tx.Commit < end })
	if step < 0 {
		return nil
	}
	lines, err := r.transaction(tx, r.c.Transactions[step].Title)
	r.got[step] = append(r.got[step], lines...)
	return err
}

// transaction maps a transaction of the WAL and returns what it made, as lines.
func (r *run) transaction(tx *cdc.Transaction, title string) ([]string, error) {
	changes, err := r.mirror.netChanges(tx)
	if err != nil {
		return nil, err
	}
	var why Explanation
	if r.explain != nil {
		why = r.explanationOf(tx, changes)
		why.Title = title
		r.mapper.OnDecision(why.add)
	}
	t := r.mapper.Begin(mapping.Commit{LSN: tx.Commit, Time: tx.Time}, r.mirror)
	t.Observe(changes)
	if t.Grouping() {
		if err := t.Group(changes); err != nil {
			return nil, err
		}
	}
	var events []mapping.Event
	if err := t.Map(changes, func(e mapping.Event) error {
		events = append(events, e)
		return nil
	}); err != nil {
		return nil, err
	}
	lines := r.lines(events, t.Cancellations())
	if r.explain != nil {
		why.Events = lines
		r.explain(why)
	}
	return lines, r.mirror.apply(changes)
}

// lines describes the events of a transaction, after the delayed ones of earlier transactions that it cancels.
func (r *run) lines(events []mapping.Event, cancellations []string) []string {
	lines := []string{}
	for _, match := range cancellations {
		if name, ok := r.delayed[match]; ok {
			lines = append(lines, "canceled: "+name)
			delete(r.delayed, match)
		}
	}
	slices.SortFunc(events, func(a, b mapping.Event) int { return a.Index - b.Index })
	for _, e := range events {
		lines = append(lines, line(e))
		if e.Delay != nil {
			r.delayed[e.Delay.Match] = e.Name
		}
	}
	return lines
}

var timestamp = regexp.MustCompile(`^(\{"event":"[^"]*","timestamp":")[^"]*`)

// line describes an event as cases have it.
func line(e mapping.Event) string {
	text := "event"
	if e.Tenant != "" {
		text += " tenant=" + string(e.Tenant)
	}
	if e.Delay != nil {
		text += " delayed=" + e.Delay.Within.Round(time.Millisecond).String()
	}
	return text + ": " + timestamp.ReplaceAllString(string(e.Body), "${1}COMMIT")
}
