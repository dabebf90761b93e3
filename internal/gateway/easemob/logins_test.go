package easemob_test

import (
	"fmt"
	"strings"
	"testing"
)

// Passwords cannot be guessed, whether or not there is such a user, and all of it is counted;
// others log in meanwhile, and so does whoever knows their password after a few mistakes.
func TestGuessingPasswordsIsBounded(t *testing.T) {
	s := startServer(t)
	s.login("ann")
	s.login("ben")
	login := func(user, password string) answer {
		return s.call("POST", "/acme/chat/token", "", fmt.Sprintf(`{"grant_type":"password","username":%q,"password":%q}`, user, password))
	}
	for range 5 {
		login("ben", "wrong")
	}
	if a := login("ben", "pw"); a.status != 200 {
		t.Errorf("after five mistakes: %d %s", a.status, a.body)
	}
	var answers [2][]string
	for i, user := range []string{"ann", "nobody"} {
		for range 15 {
			a := login(user, "wrong")
			answers[i] = append(answers[i], fmt.Sprint(a.status, a.field("error"), a.field("error_description")))
		}
		if first, last := answers[i][0], answers[i][14]; !strings.HasPrefix(first, "400") || !strings.HasPrefix(last, "429") {
			t.Errorf("guesses at %s: first %s, last %s", user, first, last)
		}
	}
	if a, b := answers[0], answers[1]; a[0] != b[0] || a[14] != b[14] {
		t.Errorf("whether there is a user can be told: %q, %q", a, b)
	}
	if a := login("ann", "pw"); a.status != 429 { // or guessing would go on
		t.Errorf("the right password from where it was guessed: %d %s", a.status, a.body)
	}
	if a := login("ben", "pw"); a.status != 200 {
		t.Errorf("another user: %d %s", a.status, a.body)
	}
	metrics := string(s.want(200, "", "GET", "/metrics", "", "").body)
	for _, result := range []string{"wrong", "refused"} {
		if !strings.Contains(metrics, fmt.Sprintf("receiptd_sdk_password_logins_total{result=%q}", result)) ||
			strings.Contains(metrics, fmt.Sprintf("receiptd_sdk_password_logins_total{result=%q} 0", result)) {
			t.Errorf("%s are not counted", result)
		}
	}
}
