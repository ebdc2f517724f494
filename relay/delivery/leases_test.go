package delivery

import (
	"testing"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// A surplus endpoint is released, unless it was sent events past older ones: then it goes on reading and sending until it has passed them.
// It must not stop without being released, because no other relay could go on with it.
func TestDispatcher_SurplusIsReleasedOrKeepsDelivering(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ahead []int64
		want  state
	}{
		"nothing ahead": {nil, stateUnowned},
		"events ahead":  {[]int64{4}, stateCatchingUp},
	} {
		d, e := testEndpoint(t, webhook.OrderingResource)
		d.closing = true // no reads: there is no outbox
		d.head = 5 * minLeaseLag
		e.claimed(new(int64))
		for _, id := range test.ahead {
			e.queue.ahead[id] = struct{}{}
		}
		e.queue.push(&outbox.Event{ID: 3, Body: []byte("{}")})
		e.cursor.readFrom = 10
		d.releaseSurplus(outbox.Lagging{Members: 2, Webhooks: 1, Mine: 2})
		d.recordCursor(e, d.head, map[int64]outbox.CursorUpdate{})
		if e.state() != test.want {
			t.Errorf("%s: state %s, want %s", name, e.state(), test.want)
		}
	}
}
