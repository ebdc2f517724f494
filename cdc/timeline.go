package cdc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// TimelineSwitch is the point at which a timeline ended and the next one of a history began.
type TimelineSwitch struct {
	Timeline int // the timeline that ended
	LSN      LSN // end of its last record
}

// codeUndefinedFile is the SQLSTATE of a server that does not have the history file.
const codeUndefinedFile = "58P01"

// TimelineHistory reads the timelines that precede a timeline, oldest first. It is empty if the server does not have the
// history file.
// https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-TIMELINE-HISTORY
func TimelineHistory(ctx context.Context, url string, timeline int) ([]TimelineSwitch, error) {
	switches, err := readTimelineHistory(ctx, url, timeline)
	if err != nil {
		return nil, fmt.Errorf("read the history of timeline %d: %w", timeline, explain(err, nil))
	}
	return switches, nil
}

func readTimelineHistory(ctx context.Context, url string, timeline int) ([]TimelineSwitch, error) {
	config, err := replicationConfig(url)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	result, err := pglogrepl.TimelineHistory(ctx, conn, int32(timeline))
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == codeUndefinedFile {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseTimelineHistory(result.Content)
}

// parseTimelineHistory parses lines such as "1\t0/3000150\tno recovery target specified".
func parseTimelineHistory(content []byte) ([]TimelineSwitch, error) {
	var switches []TimelineSwitch
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		timeline, err := strconv.Atoi(fields[0])
		if err != nil {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		lsn, err := ParseLSN(fields[1])
		if err != nil {
			return nil, fmt.Errorf("malformed line %q: %w", line, err)
		}
		switches = append(switches, TimelineSwitch{Timeline: timeline, LSN: lsn})
	}
	return switches, lines.Err()
}

// HistoryContains reports whether a position that was read on a timeline is part of the history of a later timeline. If it is
// not, the standby was promoted before it had received that WAL, and replication cannot resume from the position.
func HistoryContains(history []TimelineSwitch, timeline int, lsn LSN) bool {
	for _, s := range history {
		if s.Timeline == timeline {
			return lsn <= s.LSN
		}
	}
	return false
}
