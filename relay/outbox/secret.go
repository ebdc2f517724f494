package outbox

import "time"

// ValidSecrets are the secrets that sign at a moment, in their order: those that have expired are left out.
func (w *Webhook) ValidSecrets(now time.Time) []string {
	var valid []string
	for i, secret := range w.Secrets {
		if until := w.expires(i); until.IsZero() || now.Before(until) {
			valid = append(valid, secret)
		}
	}
	return valid
}

// NextExpiry is when the next of the secrets will no longer sign; the zero time if none will end.
func (w *Webhook) NextExpiry(now time.Time) time.Time {
	var next time.Time
	for i := range w.Secrets {
		if until := w.expires(i); now.Before(until) && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	return next
}

// SetSecrets replaces all secrets by new ones.
func (w *Webhook) SetSecrets(now time.Time, secrets ...string) {
	w.Secrets, w.SecretsCreated, w.SecretsExpire = secrets, make([]time.Time, len(secrets)), make([]time.Time, len(secrets))
	for i := range secrets {
		w.SecretsCreated[i] = now
	}
}

// Rotate puts new secrets before the others, which sign on until the end of the grace. Those that end earlier stay so; those
// that have ended are dropped.
func (w *Webhook) Rotate(now time.Time, grace time.Duration, secrets ...string) {
	old := *w
	w.SetSecrets(now, secrets...)
	end := now.Add(grace)
	if grace <= 0 {
		return
	}
	for i, secret := range old.Secrets {
		until := old.expires(i)
		switch {
		case until.IsZero() || end.Before(until):
			until = end
		case !now.Before(until):
			continue
		}
		w.Secrets = append(w.Secrets, secret)
		w.SecretsCreated, w.SecretsExpire = append(w.SecretsCreated, at(old.SecretsCreated, i)), append(w.SecretsExpire, until)
	}
}

// SecretTimes are when a secret was made and when it ends; the zero time is unknown, and never.
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

// orZero makes zero times of nulls, orNull the reverse.
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
