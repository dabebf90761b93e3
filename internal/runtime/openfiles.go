package runtime

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
)

// minFilesToServe is how many files a server needs at least to open log and state and to let
// connections in.
const minFilesToServe = 256

// errTooFewFiles refuses a start before anything is touched.
var errTooFewFiles = errors.New("too few files may be open")

// checkFiles looks at how many files may be open before any is: where a file of the log cannot be
// opened, the embedded server takes it for lost.
func checkFiles(cfg *config.Log, files uint64, logger *slog.Logger) error {
	wanted := uint64(minOpenFiles + ingressConnections(cfg, 1<<62))
	switch {
	case files < minFilesToServe:
		return fmt.Errorf("%w: %d; %d are needed, and %d wanted (ulimit -n, LimitNOFILE)", errTooFewFiles, files, minFilesToServe, wanted)
	case files < wanted:
		logger.Warn("few files may be open: connections are refused early, to keep some for log and state; raise ulimit -n or LimitNOFILE",
			"files", files, "wanted", wanted)
	}
	return nil
}

// ingressConnections is how many NATS clients may be connected where so many files may be open:
// an eighth of them at most, and with a few for the process itself.
func ingressConnections(cfg *config.Log, files uint64) int {
	if cfg.NATSListen == "" {
		return 0
	}
	return int(min(files/8, eventlog.DefaultIngressConnections))
}
