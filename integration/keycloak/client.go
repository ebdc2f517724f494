package keycloak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// Admin speaks Keycloak's Admin REST API as an administrator of all realms.
// https://www.keycloak.org/docs-api/latest/rest-api/index.html
type Admin struct {
	server *Server
	http   *http.Client

	token   string
	expires time.Time
}

// NewAdmin returns a client. It is for one goroutine.
func NewAdmin(server *Server) *Admin {
	return &Admin{server: server, http: &http.Client{Timeout: 5 * time.Minute}}
}

// token is what the token endpoint answers.
type token struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	ExpiresIn int    `json:"expires_in"` // seconds
}

// requestToken asks a realm's token endpoint: https://datatracker.ietf.org/doc/html/rfc6749#section-4.
func requestToken(ctx context.Context, client *http.Client, server *Server, realm string, form url.Values) (t token, err error) {
	body, err := postForm(ctx, client, server.URL()+"/realms/"+realm+"/protocol/openid-connect/token", form)
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(body, &t)
}

func postForm(ctx context.Context, client *http.Client, address string, form url.Values) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, body, err := send(client, request)
	return body, err
}

// statusError is an answer other than 2xx.
type statusError struct {
	method, path, body string
	status             int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s %s: status %d: %.500s", e.method, e.path, e.status, e.body)
}

// redirected is an answer whose redirection the client does not follow.
type redirected struct {
	address string
	query   url.Values
}

func (e *redirected) Error() string { return "redirected to " + e.address }

func send(client *http.Client, request *http.Request) (http.Header, []byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, err
	}
	if at := response.Header.Get("Location"); response.StatusCode/100 == 3 {
		address, err := url.Parse(at)
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, &redirected{address: at, query: address.Query()}
	}
	if response.StatusCode/100 != 2 {
		return nil, nil, &statusError{method: request.Method, path: request.URL.Path, body: string(body), status: response.StatusCode}
	}
	return response.Header, body, nil
}

// authorize gets a new token when the one at hand is about to expire, which it does after a minute.
func (a *Admin) authorize(ctx context.Context) error {
	if time.Until(a.expires) > 10*time.Second {
		return nil
	}
	asked := time.Now()
	t, err := requestToken(ctx, a.http, a.server, "master", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {adminClient}, "client_secret": {adminSecret},
	})
	if err != nil {
		return fmt.Errorf("log in as administrator: %w", err)
	}
	a.token, a.expires = t.Access, asked.Add(time.Duration(t.ExpiresIn)*time.Second)
	return nil
}

// do sends a representation to a path below /admin/realms, and reads one into answer. Either may be nil. It returns the id of
// what was created, if the answer names it.
func (a *Admin) do(ctx context.Context, method, address string, representation, answer any) (id string, err error) {
	if err := a.authorize(ctx); err != nil {
		return "", err
	}
	var body io.Reader = http.NoBody
	if representation != nil {
		text, err := json.Marshal(representation)
		if err != nil {
			return "", err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.server.URL()+"/admin/realms/"+address, "/"), body)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	if representation != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	header, text, err := send(a.http, request)
	if err != nil {
		return "", err
	}
	if location := header.Get("Location"); location != "" {
		id = path.Base(location)
	}
	if answer != nil {
		err = json.Unmarshal(text, answer)
	}
	return id, err
}

// Get reads a representation.
func (a *Admin) Get(ctx context.Context, address string, answer any) error {
	_, err := a.do(ctx, http.MethodGet, address, nil, answer)
	return err
}

// Post creates, and returns the id where Keycloak has given one.
func (a *Admin) Post(ctx context.Context, address string, representation any) (id string, err error) {
	return a.do(ctx, http.MethodPost, address, representation, nil)
}

// Put replaces.
func (a *Admin) Put(ctx context.Context, address string, representation any) error {
	_, err := a.do(ctx, http.MethodPut, address, representation, nil)
	return err
}

// PutText replaces a value that is sent as plain text.
func (a *Admin) PutText(ctx context.Context, address, text string) error {
	if err := a.authorize(ctx); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, a.server.URL()+"/admin/realms/"+address, strings.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Content-Type", "text/plain")
	_, _, err = send(a.http, request)
	return err
}

// Delete deletes. A few paths want to know what.
func (a *Admin) Delete(ctx context.Context, address string, representation any) error {
	_, err := a.do(ctx, http.MethodDelete, address, representation, nil)
	return err
}

// Edit reads a representation, changes it and saves the whole of it, as the admin console does. No changes at all are a save too.
func (a *Admin) Edit(ctx context.Context, address string, changes map[string]any) error {
	var representation map[string]any
	if err := a.Get(ctx, address, &representation); err != nil {
		return err
	}
	merge(representation, changes)
	return a.Put(ctx, address, representation)
}

// merge is a JSON merge patch: objects are merged, null removes, all else replaces. https://datatracker.ietf.org/doc/html/rfc7396
func merge(target, changes map[string]any) {
	for name, value := range changes {
		inner, isObject := value.(map[string]any)
		outer, wasObject := target[name].(map[string]any)
		switch {
		case value == nil:
			delete(target, name)
		case isObject && wasObject:
			merge(outer, inner)
		default:
			target[name] = value
		}
	}
}
