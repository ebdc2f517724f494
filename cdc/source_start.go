package cdc

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// start connects and starts the stream. A notice that means missing transactions is stored in st.notice.
func (s *Source) start(ctx context.Context, from LSN, st *stream) (*pgconn.PgConn, error) {
	if err := CheckSlotName(s.config.Slot); err != nil {
		return nil, err
	}
	config, err := replicationConfig(s.config.URL)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["wal_sender_timeout"] = fmt.Sprintf("%dms", s.config.WALSenderTimeout.Milliseconds())
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" && strings.Contains(n.Message, "skipped loading publication") {
			st.notice = fmt.Errorf("%w: %s; changes are missing", ErrPublicationMissing, n.Message)
			return
		}
		s.config.Logger.WarnContext(ctx, "notice from the source server", "code", n.Code, "message", n.Message)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, explain(err, nil)
	}
	if err := s.checkServer(ctx, conn); err != nil {
		closeConn(conn)
		return nil, err
	}
	begin, err := s.startPosition(ctx, conn, from, st)
	if err == nil {
		err = requestRawText(ctx, conn)
	}
	if err != nil {
		closeConn(conn)
		return nil, err
	}
	st.decoder.encoding = encodingOf(conn)
	publications, ok := st.decoder.encoding.fromUTF8(publicationNames(s.config.Publication))
	if !ok {
		closeConn(conn)
		return nil, fmt.Errorf("the publication name %[2]s has characters that the database's encoding, %[1]s, does not have; rename the publication", st.decoder.encoding.name, s.config.Publication)
	}
	err = pglogrepl.StartReplication(ctx, conn, `"`+s.config.Slot+`"`, pglogrepl.LSN(begin), pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: []string{"proto_version '1'", "publication_names " + string(publications)},
	})
	if err != nil {
		closeConn(conn)
		return nil, explain(err, ErrSlotMissing)
	}
	return conn, nil
}

// startPosition decides from where to stream: from before the position if the WAL there has to be checked again.
func (s *Source) startPosition(ctx context.Context, conn *pgconn.PgConn, from LSN, st *stream) (LSN, error) {
	results, err := conn.Exec(ctx, `SELECT confirmed_flush_lsn, active FROM pg_catalog.pg_replication_slots WHERE slot_name = '`+s.config.Slot+`'`).ReadAll()
	if err != nil {
		return 0, explain(err, nil)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return from, nil // the slot is missing, which START_REPLICATION reports
	}
	row := results[0].Rows[0]
	if string(row[1]) == "t" { // its confirmed position may change at any moment
		return 0, fmt.Errorf("%w: slot %s is active; another relay is probably running, and this one takes over when it stops", ErrSlotActive, s.config.Slot)
	}
	if row[0] == nil {
		return from, nil
	}
	confirmed, err := ParseLSN(string(row[0]))
	if err != nil {
		return 0, err
	}
	st.decoder.history = newHistoryCheck(s.config.Mark, confirmed, from)
	begin := st.decoder.history.startAt(from)
	st.handedOver, st.status.sent = begin, begin
	return begin, nil
}

// checkServer verifies that the connection reached the expected server.
func (s *Source) checkServer(ctx context.Context, conn *pgconn.PgConn) error {
	if s.config.Server.SystemID == "" {
		return nil
	}
	found, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return explain(err, nil)
	}
	if found.SystemID != s.config.Server.SystemID || int(found.Timeline) != s.config.Server.Timeline {
		return fmt.Errorf("%w: system %s on timeline %d instead of %s on %d", ErrServerChanged, found.SystemID, found.Timeline,
			s.config.Server.SystemID, s.config.Server.Timeline)
	}
	return nil
}

// publicationNames writes the value of the plugin option: a list of quoted identifiers within a quoted string.
func publicationNames(name string) string {
	identifier := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	return "'" + strings.ReplaceAll(identifier, "'", "''") + "'"
}
