package presence

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// question is what a node asks another one about users of an app.
type question struct {
	App   string   `json:"app"`
	Users []string `json:"users"`
	// Until, if set, has their connections last until then, in milliseconds since 1970.
	Until int64 `json:"until_ms,omitempty"`
}

// reply says which of the users are connected, by their places in the question, or why there is
// none.
type reply struct {
	Online  []int  `json:"online"`
	Problem string `json:"problem,omitempty"`
}

// answer answers a question with the connections of this node.
func answer(sessions Sessions, text []byte) []byte {
	x := reply{Online: []int{}}
	var q question
	if err := json.Unmarshal(text, &q); err != nil {
		x.Problem = "malformed: " + err.Error()
	}
	for i, user := range q.Users {
		if !sessions.OnlineHere(q.App, user) {
			continue
		}
		x.Online = append(x.Online, i)
		if q.Until > 0 {
			sessions.RenewHere(q.App, user, time.UnixMilli(q.Until))
		}
	}
	text, err := json.Marshal(x)
	if err != nil {
		text = []byte(`{"problem":"the answer cannot be encoded"}`)
	}
	return text
}

// parseReply reads the answer to a question about so many users.
func parseReply(text []byte, users int) (x reply, err error) {
	if err := json.Unmarshal(text, &x); err != nil {
		return x, fmt.Errorf("presence: an answer: %w", err)
	}
	if x.Problem != "" {
		return x, errors.New("presence: " + x.Problem)
	}
	for _, i := range x.Online {
		if i < 0 || i >= users {
			return x, fmt.Errorf("presence: an answer names user %d of %d", i, users)
		}
	}
	return x, nil
}
