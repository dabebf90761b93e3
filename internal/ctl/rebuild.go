package ctl

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/receiptd/receiptd/consumers/projector"
)

// Rebuild has the server rebuild its state: name is "verify" or "replay". The server answers with
// lines of JSON, progress first and the result last.
func (c *Client) Rebuild(ctx context.Context, name string, query url.Values, report func(projector.Progress)) (projector.RebuildResult, error) {
	var none projector.RebuildResult
	body, err := c.Stream(ctx, http.MethodPost, "/v1/admin/"+name, query, nil)
	if err != nil {
		return none, err
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for {
		var line struct {
			Progress *projector.Progress      `json:"progress"`
			Result   *projector.RebuildResult `json:"result"`
			Error    *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		text, err := readLine(lines)
		if err == nil {
			err = json.Unmarshal(text, &line)
		}
		switch {
		case errors.Is(err, io.EOF):
			return none, fmt.Errorf("%s: the server stopped before it had a result", name)
		case err != nil:
			return none, fmt.Errorf("%s: read the answer: %w", name, err)
		case line.Error != nil:
			return none, fmt.Errorf("%s: %s", name, TerminalSafe(line.Error.Message))
		case line.Result != nil:
			return *line.Result, nil
		case line.Progress != nil && report != nil:
			report(*line.Progress)
		}
	}
}
