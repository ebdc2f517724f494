package outbox

import "github.com/iam-relay/iam-relay/cdc"

// rowCache keeps recently used rows within a bound, in two generations: when the young one is full it becomes the old one
// and the former old one is forgotten; a hit in the old one moves the row up.
type rowCache struct {
	limit      int // bytes of one generation
	young, old map[rowID]cdc.Row
	bytes      int
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

func (c *rowCache) put(id rowID, row cdc.Row) {
	if c.bytes >= c.limit || c.young == nil {
		c.young, c.old, c.bytes = map[rowID]cdc.Row{}, c.young, 0
	}
	if _, ok := c.young[id]; !ok {
		c.bytes += 64 + len(id.key) + rowBytes(row)
	}
	delete(c.old, id)
	c.young[id] = row
}

func (c *rowCache) drop(id rowID) {
	delete(c.young, id)
	delete(c.old, id)
}

func (c *rowCache) clear() { c.young, c.old, c.bytes = nil, nil, 0 }

// rowBytes estimates what a row holds: slice, string headers, texts.
func rowBytes(row cdc.Row) int {
	n := 24 * len(row)
	for _, v := range row {
		n += len(v.Text)
	}
	return n
}
