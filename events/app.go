package events

import (
	"errors"
	"fmt"
	"strings"
)

// maxAppNameBytes bounds the org and the app of an app key, each, in bytes.
const maxAppNameBytes = 64

// ErrBadApp is wrapped by the errors of [ValidateApp] and [SplitAppKey].
var ErrBadApp = errors.New("events: bad app")

// ValidateApp checks the two names of an app. Each has 1 to 64 bytes: ASCII letters, digits, '-',
// '_' and '.', beginning with a letter or digit, so that both are plain segments of a URL path and
// '#' can stand between them. The org must not be "v1": that path is the API's own. The error wraps
// [ErrBadApp] and says whether it is the org or the app.
func ValidateApp(org, app string) error {
	if problem := appProblem(org, app); problem != "" {
		return fmt.Errorf("%w: %s", ErrBadApp, problem)
	}
	return nil
}

// appProblem says what is wrong with the names of an app; empty if nothing is.
func appProblem(org, app string) string {
	if problem := appNameProblem(org); problem != "" {
		return "org: " + problem
	}
	if org == "v1" {
		return `org: "v1" is reserved`
	}
	if problem := appNameProblem(app); problem != "" {
		return "app: " + problem
	}
	return ""
}

// appNameProblem says what is wrong with an org or app name; empty if nothing is.
func appNameProblem(name string) string {
	switch {
	case name == "":
		return "empty"
	case len(name) > maxAppNameBytes:
		return fmt.Sprintf("%d bytes, at most %d", len(name), maxAppNameBytes)
	case strings.IndexByte("-_.", name[0]) >= 0:
		return fmt.Sprintf("%q does not begin with a letter or digit", name)
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; !plainTokenByte[c] && c != '.' {
			return fmt.Sprintf("%q has more than letters, digits, '-', '_' and '.'", name)
		}
	}
	return ""
}

// AppKey is the key of an app as events carry it: "org#app". It does not check the names.
func AppKey(org, app string) string { return org + "#" + app }

// SplitAppKey splits "org#app" and checks both names. The error wraps [ErrBadApp].
func SplitAppKey(key string) (org, app string, err error) {
	org, app, ok := strings.Cut(key, "#")
	if !ok {
		return "", "", fmt.Errorf("%w: not org#app: %.140q", ErrBadApp, key)
	}
	if err := ValidateApp(org, app); err != nil {
		return "", "", err
	}
	return org, app, nil
}
