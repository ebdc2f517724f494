package outbox

import "github.com/iam-relay/iam-relay/cdc"

// rowCache keeps recently used rows in two generations of at most limit bytes each. When the young one is full, it replaces the old one,
// whose rows are evicted. A hit in the old one moves the row to the young one.
type rowCache struct {
	limit      int // bytes of one generation
	young, old map[rowID]cdc.Row
	bytes      int // of the young one
}

func (c *rowCache) get(id rowID) (cdc.Row, bool) {
	if row, ok := c.young[id]; ok {
		return row, true
	}
	row, ok := c.old[id]
	if ok {
		c.put(id, row)
	}
	return row, ok
}

// put caches a row unless it is larger than an eighth of the limit.
func (c *rowCache) put(id rowID, row cdc.Row) {
	c.drop(id)
	size := entryBytes(id.key, row)
	if size > c.limit/8 {
		return
	}
	if c.bytes+size > c.limit || c.young == nil {
		c.young, c.old, c.bytes = map[rowID]cdc.Row{}, c.young, 0
	}
	c.bytes += size
	c.young[id] = row
}

func (c *rowCache) drop(id rowID) {
	if row, ok := c.young[id]; ok {
		c.bytes -= entryBytes(id.key, row)
		delete(c.young, id)
	}
	delete(c.old, id)
}

func (c *rowCache) clear() { c.young, c.old, c.bytes = nil, nil, 0 }

// entryBytes estimates the memory of a row in a map: entry, slice, string headers and texts.
func entryBytes(key cdc.Key, row cdc.Row) int {
	n := 96 + len(key) + 24*len(row)
	for i := range row {
		n += len(row[i].Text)
	}
	return n
}
