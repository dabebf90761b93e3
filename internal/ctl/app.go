package ctl

import (
	"context"
	"errors"
	"net/url"
	"strings"
)

// errNoApp is the error for the name of an app that is not ORG/APP.
var errNoApp = errors.New("is not ORG/APP")

// SplitApp splits ORG/APP. The error is errNoApp.
func SplitApp(app string) (org, name string, err error) {
	org, name, ok := strings.Cut(app, "/")
	if !ok || org == "" || name == "" {
		return "", "", errNoApp
	}
	return org, name, nil
}

// AppPath is the path of the app ORG/APP in the API, or of what is below it: the ids are escaped.
// The error is errNoApp.
func AppPath(app string, below ...string) (string, error) {
	org, name, err := SplitApp(app)
	path := "/v1/apps"
	for _, segment := range append([]string{org, name}, below...) {
		path += "/" + url.PathEscape(segment)
	}
	return path, err
}

// Apps lists the apps of the server as ORG/APP, in order.
func (c *Client) Apps(ctx context.Context) (names []string, err error) {
	var answer struct {
		Apps []struct {
			Org string `json:"org"`
			App string `json:"app"`
		} `json:"apps"`
	}
	err = c.Call(ctx, "GET", "/v1/apps", nil, nil, &answer)
	for _, a := range answer.Apps {
		names = append(names, a.Org+"/"+a.App)
	}
	return names, err
}
