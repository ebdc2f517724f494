package delivery

import (
	"testing"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

func TestEventPool_CountsEachBodyOnce(t *testing.T) {
	t.Parallel()
	p := newEventPool(1000)
	event := func(id int64, size int) *outbox.Event { return &outbox.Event{ID: id, Body: make([]byte, size)} }
	first := p.hold("a", event(1, 100))
	for range 50 {
		if p.hold("a", event(1, 100)) != first || p.hold("b", event(1, 100)) != first {
			t.Fatal("the same event has two bodies in memory")
		}
	}
	if p.bytes != 100 || p.room("a", proven) != 800 || p.room("a", slow) != 350 || p.room("c", proven) != 900 {
		t.Errorf("%d bytes, room %d, %d, %d", p.bytes, p.room("a", proven), p.room("a", slow), p.room("c", proven))
	}
	p.hold("a", event(2, 400))
	if p.mayHold("a", proven) || !p.mayHold("c", proven) {
		t.Error("a tenant that holds as much as is free may read on, or another may not")
	}
	for range 51 {
		p.release("a", 1)
		p.release("b", 1)
	}
	p.release("a", 2)
	if p.bytes != 0 || len(p.events) > 0 || len(p.tenants) > 0 {
		t.Errorf("%d bytes, %d events, %d tenants left", p.bytes, len(p.events), len(p.tenants))
	}
}
