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

// renewalPause is how long a token that replaced one the endpoint had refused is kept at least, refused or not: an endpoint that
// refuses every token must not make each delivery ask for another.
const renewalPause = time.Minute

// tokens are the access tokens of one client (RFC 6749, section 4.4). One is used until it expires or is refused.
type tokens struct {
	config clientcredentials.Config
	client *http.Client

	fetching chan struct{} // holds a place while a token is being fetched

	mu      sync.Mutex
	token   *oauth2.Token
	failure error // of the last fetch
	fetches int   // how many have ended
	refused bool  // the endpoint refused the last token
	renewed time.Time
}

// fingerprint tells clients apart, with the certificates that the token server sees.
func (o *OAuth2) fingerprint(profile fingerprint) fingerprint {
	h := sha256.New()
	for _, part := range append([]string{string(profile[:]), o.TokenURL, o.ClientID, o.ClientSecret}, o.Scopes...) {
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

// get returns the token to send, and fetches one where there is none. Those who wait for a fetch share its failure: a token
// server that is away is asked once, not once for each delivery that waits.
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
		if err := ts.failed(); err != nil {
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

func (ts *tokens) failed() error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.failure
}

func (ts *tokens) fetch(ctx context.Context) (string, error) {
	token, err := ts.config.Token(context.WithValue(ctx, oauth2.HTTPClient, ts.client))
	if err == nil && !isBearerToken(token.AccessToken) {
		err = errUnusableToken
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		return "", err // the next one may have more time
	}
	ts.fetches++
	if ts.failure = err; err != nil {
		return "", err
	}
	if ts.token = token; ts.refused {
		ts.refused, ts.renewed = false, time.Now()
	}
	return token.AccessToken, nil
}

// refuse drops the token that the endpoint did not accept, so that the next attempt brings a fresh one.
func (ts *tokens) refuse(token string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.token != nil && ts.token.AccessToken == token && time.Since(ts.renewed) > renewalPause {
		ts.token, ts.refused = nil, true
	}
}

var errUnusableToken = errors.New("the token server sent a token that cannot be sent in a header")

// tokenCodes are the errors of RFC 6749, section 5.2. Other texts of the token server are not repeated: they may quote the secret.
var tokenCodes = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true,
	"unsupported_grant_type": true, "invalid_scope": true,
}

// tokenFailure makes the Outcome of an attempt that got no token.
func tokenFailure(parent, ctx context.Context, timeout time.Duration, err error) Outcome {
	o := Outcome{Class: ClassTokenError}
	refusal, refused := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case parent.Err() != nil:
		return failure(parent, ctx, timeout, err)
	case ctx.Err() == nil && refused && refusal.Response != nil:
		o.Err = fmt.Errorf("get a token: the token server answered with status %d", refusal.Response.StatusCode)
		if tokenCodes[refusal.ErrorCode] {
			o.Err = fmt.Errorf("%w, %s", o.Err, refusal.ErrorCode)
		}
		o.RetryAfter = retryAfter(refusal.Response.Header, time.Now())
	case errors.Is(err, errUnusableToken):
		o.Err = fmt.Errorf("get a token: %w", err)
	case ctx.Err() == nil && !isTransportError(err):
		o.Err = errors.New("get a token: there is none in what the token server answered")
	default:
		o.Err = fmt.Errorf("get a token: %w", failure(parent, ctx, timeout, err).Err)
	}
	return o
}

// isTransportError tells what http.Client could not do from what was wrong with its answer.
func isTransportError(err error) bool {
	_, ok := errors.AsType[*url.Error](err)
	return ok
}
