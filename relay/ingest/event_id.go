package ingest

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"

	"github.com/iam-relay/iam-relay/cdc"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// webhookID returns the event's webhook-id: a hash of the source's system identifier and timeline, the commit LSN and the event's index in
// the transaction. It depends on nothing else, so reading the same WAL again gives the same id. The timeline is part of it because LSNs
// repeat with other content after a restore to an earlier point. Standard Webhooks forbids dots in it.
func webhookID(systemID string, timeline int, commit cdc.LSN, index int) string {
	b := make([]byte, 0, 64)
	b = append(b, systemID...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(timeline))
	b = binary.BigEndian.AppendUint64(b, uint64(commit))
	b = binary.BigEndian.AppendUint32(b, uint32(index))
	sum := sha256.Sum256(b)
	return "evt_" + idEncoding.EncodeToString(sum[:20])
}
