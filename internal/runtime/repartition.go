package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
)

// Repartition doubles the number of partitions of a stopped server's log; to is how many there are
// to be, and 0 the double of what there is. The next start splits the states. What was cut off is
// finished by the next call, and by the next start.
func Repartition(ctx context.Context, cfg config.Config, to int, logger *slog.Logger) (r eventlog.Repartitioned, err error) {
	if err := alone(cfg); err != nil {
		return r, err
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, logDir)); err != nil {
		return r, fmt.Errorf("%s holds no log: %w", cfg.Data, err)
	}
	lock, err := openData(cfg.Data)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	r, err = eventlog.Repartition(ctx, logConfig(cfg, logger), to)
	if err == nil {
		logger.Info("the log was repartitioned; the states are split as they are folded on", "from", r.From, "to", r.To, "entries", r.ForkPoints)
	}
	return r, err
}

// alone returns an error unless the server has a log of its own.
func alone(cfg config.Config) error {
	if len(cfg.Log.NATS) > 0 || cfg.Cluster.Listen != "" || cfg.Cluster.Node != "" {
		return eventlog.ErrNotAlone
	}
	return nil
}

// RepartitionPlan is what a repartition is going to do.
type RepartitionPlan struct {
	// From and To are how many partitions the log has and will have.
	From int `json:"from"`
	To   int `json:"to"`
	// Entries and LogBytes are what the log holds: it stays where it is. StateBytes is what the
	// states take, which are rewritten.
	Entries    uint64 `json:"entries"`
	LogBytes   uint64 `json:"log_bytes"`
	StateBytes uint64 `json:"state_bytes"`
}

// PlanRepartition says what a repartition to so many partitions would do, 0 for the double, or why
// there can be none. It changes nothing.
func (c *Core) PlanRepartition(ctx context.Context, to int) (p RepartitionPlan, err error) {
	p.From, p.To = c.Log.Partitions(), to
	if to == 0 {
		p.To = 2 * p.From
	}
	if p.To != 2*p.From || p.To > events.MaxPartitions {
		return p, fmt.Errorf("%w: it has %d, and can only be doubled, up to %d", eventlog.ErrPartitions, p.From, events.MaxPartitions)
	}
	for k := range p.From {
		entries, bytes, err := c.Log.Size(ctx, k)
		if err != nil {
			return p, err
		}
		p.Entries, p.LogBytes = p.Entries+entries, p.LogBytes+bytes
	}
	err = filepath.WalkDir(filepath.Join(c.data, stateDir), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err == nil {
			p.StateBytes += uint64(info.Size())
		}
		return ignoreGone(err)
	})
	return p, err
}

// ignoreGone takes away the error of a file that was removed meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// repartition plans a repartition and, unless it is a dry run, has the server end for it: whoever
// runs it repartitions the log then, and starts it again.
func (s *Server) repartition(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to := 0
	if text := q.Get("to"); text != "" {
		var err error
		if to, err = strconv.Atoi(text); err != nil || to < 2 {
			refuse(w, http.StatusBadRequest, "bad_request", "to is not a number of partitions")
			return
		}
	}
	dry, err := strconv.ParseBool(q.Get("dry_run"))
	if err != nil && q.Has("dry_run") {
		refuse(w, http.StatusBadRequest, "bad_request", "dry_run is neither true nor false")
		return
	}
	p, err := s.planRepartition(r.Context(), to)
	switch {
	case errors.Is(err, eventlog.ErrNotAlone):
		refuse(w, http.StatusConflict, "not_alone", err.Error())
		return
	case errors.Is(err, cluster.ErrRefused):
		refuse(w, http.StatusConflict, "nodes_missing", err.Error())
		return
	case errors.Is(err, eventlog.ErrPartitions):
		refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	case err != nil:
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
		return
	}
	status := http.StatusOK
	if !dry {
		if err := s.announce(r.Context(), p); err != nil {
			refuse(w, http.StatusConflict, "busy", err.Error())
			return
		}
		status = http.StatusAccepted
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p)
	if !dry {
		s.endFor(p.To)
	}
}

// planRepartition plans it for this server, which is alone or one of several nodes.
func (s *Server) planRepartition(ctx context.Context, to int) (p RepartitionPlan, err error) {
	if s.node == nil {
		err = alone(s.cfg)
	} else {
		err = errors.Join(s.node.AllKnow(ctx, eventlog.RepartitionLevel), cluster.AllSignedOn(ctx, s.bucket))
	}
	if err != nil {
		return p, err
	}
	return s.PlanRepartition(ctx, to)
}

// announce has the other nodes end for a repartition, too.
func (s *Server) announce(ctx context.Context, p RepartitionPlan) error {
	if s.node == nil {
		return nil
	}
	return cluster.BeginRepartition(ctx, s.bucket, p.From, p.To)
}

// Repartitions is how many partitions the log is to have before the server is started again; 0 = it
// ended for another reason.
func (s *Server) Repartitions() int { return int(s.repartitionTo.Load()) }

// RestartConfig is the configuration of a server that takes this one's place, at the same
// addresses.
func (s *Server) RestartConfig() config.Config {
	cfg := s.cfg
	cfg.HTTP.Listen = s.Addr().String()
	if addr := s.Log.IngressAddr(); addr != nil {
		cfg.Log.NATSListen = addr.String()
	}
	return cfg
}
