package webhook

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// minTokenLifetime is how long a token that replaced a refused one is used at least, so that an endpoint that refuses every token
// does not cause a request to the token server for each delivery.
const minTokenLifetime = time.Minute

// tokens fetches the access tokens of one OAuth2 client (RFC 6749, section 4.4). It reuses a token until that expires or is refused.
type tokens struct {
	config clientcredentials.Config
	client *http.Client

	fetching chan struct{} // a semaphore: one fetch at a time

	mu      sync.Mutex
	token   *oauth2.Token
	lastErr error     // of the last fetch
	fetches int       // completed fetches
	refused bool      // the endpoint refused the last token
	renewed time.Time // when a refused token was last replaced
}

// fingerprint identifies the client, together with the TLS credentials that apply to the token server.
func (o *OAuth2) fingerprint(tls fingerprint) fingerprint {
	h := sha256.New()
	for _, part := range append([]string{string(tls[:]), o.TokenURL, o.ClientID, o.ClientSecret}, o.Scopes...) {
		fmt.Fprintf(h, "%d %s", len(part), part)
	}
	return fingerprint(h.Sum(nil))
}

func newTokens(o *OAuth2, tokenURL *url.URL, transport *http.Transport) *tokens {
	return &tokens{
		config: clientcredentials.Config{
			ClientID: o.ClientID, ClientSecret: o.ClientSecret, TokenURL: tokenURL.String(), Scopes: o.Scopes,
		},
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		fetching: make(chan struct{}, 1),
	}
}

// get returns the current token, or fetches one. All callers that wait for a fetch share its error, so that an unreachable token
// server gets one request instead of one per delivery.
func (ts *tokens) get(ctx context.Context) (string, error) {
	token, fetches := ts.valid()
	if token != "" {
		return token, nil
	}
	select {
	case ts.fetching <- struct{}{}:
		defer func() { <-ts.fetching }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if token, now := ts.valid(); token != "" {
		return token, nil
	} else if now > fetches {
		if err := ts.lastError(); err != nil {
			return "", err
		}
	}
	return ts.fetch(ctx)
}

func (ts *tokens) valid() (string, int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.token.Valid() {
		return ts.token.AccessToken, ts.fetches
	}
	return "", ts.fetches
}

func (ts *tokens) lastError() error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.lastErr
}

func (ts *tokens) fetch(ctx context.Context) (string, error) {
	token, err := ts.config.Token(context.WithValue(ctx, oauth2.HTTPClient, ts.client))
	if err == nil && !isBearerToken(token.AccessToken) {
		err = errUnusableToken
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		return "", err // not recorded: the next caller may have more time
	}
	ts.fetches++
	if ts.lastErr = err; err != nil {
		return "", err
	}
	if ts.token = token; ts.refused {
		ts.refused, ts.renewed = false, time.Now()
	}
	return token.AccessToken, nil
}

// refuse discards a token that the endpoint did not accept, so that the next attempt fetches a new one.
func (ts *tokens) refuse(token string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.token != nil && ts.token.AccessToken == token && time.Since(ts.renewed) > minTokenLifetime {
		ts.token, ts.refused = nil, true
	}
}

var errUnusableToken = errors.New("the token server returned a token that cannot be sent in a header")

// tokenCodes are the error codes of RFC 6749, section 5.2. Other texts of the token server are not reported, because they may quote
// the secret.
var tokenCodes = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true,
	"unsupported_grant_type": true, "invalid_scope": true,
}

// tokenFailure returns the Outcome of an attempt for which no token was available.
func tokenFailure(parent, ctx context.Context, timeout time.Duration, err error) Outcome {
	o := Outcome{Class: ClassTokenError}
	refusal, refused := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case parent.Err() != nil:
		return failureOutcome(parent, ctx, timeout, err)
	case ctx.Err() == nil && refused && refusal.Response != nil:
		o.Err = fmt.Errorf("get a token: the token server responded with status %d", refusal.Response.StatusCode)
		if tokenCodes[refusal.ErrorCode] {
			o.Err = fmt.Errorf("%w, %s", o.Err, refusal.ErrorCode)
		}
		o.RetryAfter = retryAfter(refusal.Response.Header, time.Now())
	case errors.Is(err, errUnusableToken):
		o.Err = fmt.Errorf("get a token: %w", err)
	case ctx.Err() == nil && !isTransportError(err):
		o.Err = errors.New("get a token: the response of the token server contains no token")
	default:
		o.Err = fmt.Errorf("get a token: %w", failureOutcome(parent, ctx, timeout, err).Err)
	}
	return o
}

// isTransportError reports whether http.Client failed, rather than the response being unusable.
func isTransportError(err error) bool {
	_, ok := errors.AsType[*url.Error](err)
	return ok
}
