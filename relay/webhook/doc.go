// Package webhook knows what a webhook is and how one event is sent to it: which endpoints want an event, how the
// request is built and signed, over which guarded connections it goes, and what each answer means.
//
// An Endpoint is a subscription as it is configured. A Sender compiles it once into a Target, and then makes one attempt
// per call of Send; the result is an Outcome of a closed set of classes. When to try again is the caller's business, for
// which Schedule is at hand. The package holds no state of deliveries and knows no database.
package webhook
