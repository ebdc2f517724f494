package keycloak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// loginRedirect is where the login pages lead in the end. Nobody listens there; the browser stops before it.
const loginRedirect = "http://localhost/callback"

// browsers log users in through the pages of the authorization code flow, each time with a new browser.
type browsers struct {
	server *Server
	code   string // of the last login
}

var formAction = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)

// login opens the login page, fills it in, and agrees to what is asked then.
func (b *browsers) login(ctx context.Context, realm, user, password string) error {
	browser := &http.Client{Jar: cookies{}, CheckRedirect: func(request *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(request.URL.String(), loginRedirect) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	query := url.Values{"client_id": {"cli"}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {loginRedirect}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.server.URL()+"/realms/"+realm+"/protocol/openid-connect/auth?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	_, page, err := send(browser, request)
	if err != nil {
		return err
	}
	for range 3 { // name, password and consent may have a page each
		form := url.Values{"username": {user}, "password": {password}}
		if bytes.Contains(page, []byte(`name="accept"`)) {
			form = url.Values{"accept": {"Yes"}}
		}
		action := formAction.FindSubmatch(page)
		if action == nil {
			return fmt.Errorf("log in by browser: the page has no form: %s", words(page))
		}
		address := html.UnescapeString(string(action[1]))
		if strings.HasPrefix(address, "/") {
			address = b.server.URL() + address
		}
		page, err = postForm(ctx, browser, address, form)
		if at, ok := errors.AsType[*redirected](err); ok {
			b.code = at.query.Get("code")
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("log in by browser: the pages have no end: %s", words(page))
}

var markup = regexp.MustCompile(`(?s)<(style|script)[^>]*>.*?</(style|script)>|<[^>]*>|\s+`)

// words are what can be read on a page.
func words(page []byte) string {
	return strings.Join(strings.Fields(string(markup.ReplaceAll(page, []byte(" ")))), " ")
}

// cookies are a browser's, which takes a server on this machine for secure without https. It speaks to one server.
type cookies map[string]*http.Cookie

func (c cookies) SetCookies(_ *url.URL, set []*http.Cookie) {
	for _, cookie := range set {
		c[cookie.Name] = cookie
	}
}

func (c cookies) Cookies(*url.URL) (all []*http.Cookie) {
	for _, cookie := range c {
		if cookie.MaxAge >= 0 {
			all = append(all, cookie)
		}
	}
	return all
}
