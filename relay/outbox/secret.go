package outbox

import (
	"slices"
	"time"
)

// ValidSecrets returns the secrets that have not expired, in their order.
func (w *Webhook) ValidSecrets(now time.Time) []string {
	var valid []string
	for i, secret := range w.Secrets {
		if until := w.expires(i); until.IsZero() || now.Before(until) {
			valid = append(valid, secret)
		}
	}
	return valid
}

// NextExpiry returns when the next secret expires; the zero time if none does.
func (w *Webhook) NextExpiry(now time.Time) time.Time {
	var next time.Time
	for i := range w.Secrets {
		if until := w.expires(i); now.Before(until) && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	return next
}

// SetSecrets replaces all secrets.
func (w *Webhook) SetSecrets(now time.Time, secrets ...string) {
	w.Secrets, w.SecretsCreated, w.SecretsExpire = secrets, make([]time.Time, len(secrets)), make([]time.Time, len(secrets))
	for i := range secrets {
		w.SecretsCreated[i] = now
	}
}

// Rotate adds new secrets before the old ones, which expire at the end of the grace period, or earlier if they already did. Expired secrets
// are dropped.
func (w *Webhook) Rotate(now time.Time, grace time.Duration, secrets ...string) {
	end := now.Add(grace)
	w.SecretsExpire = slices.Clone(w.SecretsExpire)
	for i := range w.Secrets {
		if i >= len(w.SecretsExpire) {
			w.SecretsExpire = append(w.SecretsExpire, time.Time{})
		}
		if until := w.SecretsExpire[i]; until.IsZero() || end.Before(until) {
			w.SecretsExpire[i] = end
		}
	}
	w.dropExpired(now)
	old := *w
	w.SetSecrets(now, secrets...)
	w.Secrets = append(w.Secrets, old.Secrets...)
	w.SecretsCreated, w.SecretsExpire = append(w.SecretsCreated, old.SecretsCreated...), append(w.SecretsExpire, old.SecretsExpire...)
}

// dropExpired removes expired secrets.
func (w *Webhook) dropExpired(now time.Time) {
	old := *w
	w.Secrets, w.SecretsCreated, w.SecretsExpire = nil, nil, nil
	for i, secret := range old.Secrets {
		created, until := old.SecretTimes(i)
		if until.IsZero() || now.Before(until) {
			w.Secrets, w.SecretsCreated, w.SecretsExpire = append(w.Secrets, secret), append(w.SecretsCreated, created), append(w.SecretsExpire, until)
		}
	}
}

// SecretTimes returns when a secret was created and when it expires; the zero time means unknown, and never.
func (w *Webhook) SecretTimes(i int) (created, expires time.Time) {
	return at(w.SecretsCreated, i), at(w.SecretsExpire, i)
}

func (w *Webhook) expires(i int) time.Time { return at(w.SecretsExpire, i) }

func at(times []time.Time, i int) time.Time {
	if i < len(times) {
		return times[i]
	}
	return time.Time{}
}

// orZero converts nulls to zero times, orNull the reverse.
func orZero(times []*time.Time) []time.Time {
	if times == nil {
		return nil
	}
	zero := make([]time.Time, len(times))
	for i, t := range times {
		if t != nil {
			zero[i] = *t
		}
	}
	return zero
}

func orNull(times []time.Time) []*time.Time {
	null := make([]*time.Time, len(times))
	for i := range times {
		if !times[i].IsZero() {
			null[i] = &times[i]
		}
	}
	return null
}
