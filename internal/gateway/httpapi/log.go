package httpapi

import (
	"net/http"
	"strconv"

	"github.com/receiptd/receiptd/internal/gateway"
)

func (a *API) getLogKey(c *call) error {
	c.w.writeFile("text/plain; charset=utf-8", []byte(a.cfg.Notary.Key()+"\n"))
	return nil
}

// number reads a parameter of the path or, if that has none of the name, of the query; 0 if it is
// not there.
func (c *call) number(name string) (uint64, error) {
	text := c.r.PathValue(name)
	if text == "" {
		text = c.r.URL.Query().Get(name)
	}
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, invalid(name, "not a number from 0 on")
	}
	return n, nil
}

// partition reads the partition of the path.
func (a *API) partition(c *call) (int, error) {
	n, err := c.number("partition")
	if err == nil && n >= uint64(a.cfg.Partitions) {
		err = errNoSuchPath
	}
	return int(n), err
}

func (a *API) getCheckpoint(c *call) error {
	partition, err := a.partition(c)
	if err != nil {
		return err
	}
	var size uint64
	if c.Admin { // the route for everybody has none
		if size, err = c.number("size"); err != nil {
			return err
		}
	}
	signed, err := a.cfg.Notary.Checkpoint(partition, size)
	if err != nil {
		return err
	}
	c.w.writeFile("text/plain; charset=utf-8", []byte(signed))
	return nil
}

func (a *API) getConsistency(c *call) error {
	partition, err := a.partition(c)
	if err != nil {
		return err
	}
	from, err := c.number("from")
	if err != nil {
		return err
	}
	if from == 0 {
		return invalid("from", "missing")
	}
	to, err := c.number("to")
	if err != nil {
		return err
	}
	proof, err := a.cfg.Notary.Consistency(partition, from, to)
	if err != nil {
		return err
	}
	gateway.WriteJSON(c.w, http.StatusOK, proof)
	return nil
}

func (a *API) getInclusion(c *call) error {
	partition, err := a.partition(c)
	if err != nil {
		return err
	}
	sequence, err := c.number("sequence")
	if err != nil {
		return err
	}
	size, err := c.number("size")
	if err != nil {
		return err
	}
	proof, err := a.cfg.Notary.Inclusion(partition, sequence, size)
	if err != nil {
		return err
	}
	gateway.WriteJSON(c.w, http.StatusOK, proof)
	return nil
}

// getEvidence answers with the very bytes of the file, which are what is checked.
func (a *API) getEvidence(c *call) error {
	whole := c.r.URL.Query().Get("entry")
	if whole != "" && whole != "true" && whole != "false" {
		return invalid("entry", "neither true nor false")
	}
	m, err := a.message(c)
	if err != nil {
		return err
	}
	file, err := a.cfg.Notary.Evidence(c.r.Context(), m.Conversation(c.app), m.ID, c.r.PathValue("user"), whole == "true")
	if err != nil {
		return err
	}
	c.w.writeFile("application/json", file)
	return nil
}
