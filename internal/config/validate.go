package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Bounds of the settings that have some.
const (
	maxPartitions         = 256 // each is a stream, a store and some goroutines
	maxReplicas           = 5   // JetStream's
	minBody         Bytes = 1 << 10
	maxBody         Bytes = 1 << 30
	maxEvents             = 1_000_000
	minCache        Bytes = 8 << 20
	minCheckpoint         = 10 * time.Millisecond
	maxCheckpoint         = time.Hour
	minSnapshot           = time.Second
	maxSnapshot           = 30 * 24 * time.Hour
	maxShutdown           = time.Hour
	maxConnections        = 1_000_000
	maxUsers              = 100_000_000
	maxRate               = 1_000_000
	maxMembers            = 100_000 // the log's
	maxSilence            = time.Hour
	minIdle               = 90 * time.Second // the SDK is silent for a minute
	maxInbox              = 100_000
	minInboxAge           = time.Minute
	maxInboxAge           = 365 * 24 * time.Hour
	minInboxSize    Bytes = 16 << 20
	minScrubRate    Bytes = 64 << 10
	minSnapshotRate Bytes = 64 << 10
	maxScrubEvery         = 365 * 24 * time.Hour
)

// Validate returns nil or [Problems] with everything that is wrong.
func (c Config) Validate() error {
	var p Problems
	if strings.TrimSpace(c.Data) == "" {
		p.add("data", "names no directory")
	}
	p.duration("shutdown-timeout", c.ShutdownTimeout, time.Millisecond, maxShutdown)
	p.join(c.HTTP.Validate())
	if least := 4 * c.HTTP.MaxBody; c.Intake.Memory < least {
		p.add("intake-memory", "%s is less than four times --max-body, %s", c.Intake.Memory, least)
	}
	p.join(c.Log.Validate())
	p.join(c.Cluster.validate(&c))
	p.join(c.State.Validate())
	p.join(c.SDK.Validate())
	p.join(c.Logging.Validate())
	p.join(c.Analytics.Validate())
	p.covered(&c)
	return p.err()
}

// Validate returns nil or [Problems] with everything that is wrong.
func (h HTTP) Validate() error {
	var p Problems
	p.address("listen", h.Listen)
	p.secret("admin-key", h.AdminKey)
	p.guessable("admin-key", h.AdminKey, h.Listen)
	p.oneOf("metrics", h.Metrics, MetricsAuto, MetricsOpen, MetricsKey)
	for _, text := range h.TrustedProxies.List() {
		if _, err := netip.ParsePrefix(text); err != nil {
			p.add("trusted-proxies", "%q is not a network like 10.0.0.0/8 or ::1/128", text)
		}
	}
	for _, name := range h.Hosts.List() {
		if name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, ":/ ") {
			p.add("hosts", "%q is not a name like chat.example.com, in lower case and without a port", name)
		}
	}
	for _, origin := range h.CORSOrigin.List() {
		if problem := originProblem(origin); problem != "" {
			p.add("cors-origin", "%q %s", origin, problem)
		}
	}
	if h.MaxBody < minBody || h.MaxBody > maxBody {
		p.add("max-body", "%s is not between %s and %s", h.MaxBody, minBody, maxBody)
	}
	if h.MaxEventsPerRequest < 1 || h.MaxEventsPerRequest > maxEvents {
		p.add("max-events-per-request", "%d is not between 1 and %d", h.MaxEventsPerRequest, maxEvents)
	}
	if h.ReceiptsPerSecond < 1 || h.ReceiptsPerSecond > maxEvents {
		p.add("receipts-per-second", "%d is not between 1 and %d", h.ReceiptsPerSecond, maxEvents)
	}
	return p.err()
}

// Validate returns nil or [Problems] with everything that is wrong.
func (l Log) Validate() error {
	var p Problems
	if l.Partitions < 0 || l.Partitions > maxPartitions {
		p.add("partitions", "%d is not between 0 and %d", l.Partitions, maxPartitions)
	}
	if l.ScrubRate > 0 && l.ScrubRate < minScrubRate {
		p.add("scrub-rate", "%s is less than %s", l.ScrubRate, minScrubRate)
	}
	p.duration("scrub-every", l.ScrubEvery, time.Minute, maxScrubEvery)
	p.oneOf("fsync", l.Fsync, FsyncAlways, FsyncInterval)
	if l.NATS != "" {
		p.natsURLs("nats", l.NATS)
	}
	if l.NATS == "" && l.NATSCredentials != "" {
		p.add("nats-credentials", "is of no use without --nats")
	}
	if l.Replicas < 1 || l.Replicas > maxReplicas {
		p.add("replicas", "%d is not between 1 and %d", l.Replicas, maxReplicas)
	}
	p.secret("nats-password", l.NATSPassword)
	if l.NATSListen != "" {
		p.guessable("nats-password", l.NATSPassword, l.NATSListen)
	}
	if n := len(l.NATSPassword.Reveal()); n > 0 && n < minPassword && Loopback(l.NATSListen) {
		p.add("nats-password", "has %d characters, which can be guessed: take %d or more", n, minPassword)
	}
	if (l.NATSCert == "") != (l.NATSKey == "") {
		p.add("nats-tls-cert", "and --nats-tls-key need each other")
	}
	if l.NATSListen == "" {
		for setting, value := range map[string]string{
			"nats-password": l.NATSPassword.Reveal(), "nats-users": l.NATSUsers, "nats-tls-cert": l.NATSCert,
		} {
			if value != "" {
				p.add(setting, "is of no use without --nats-listen")
			}
		}
		return p.err()
	}
	p.address("nats-listen", l.NATSListen)
	if l.NATSPassword == "" && l.NATSUsers == "" {
		p.add("nats-listen", "needs --nats-password or --nats-users")
	}
	if l.NATS != "" {
		p.add("nats-listen", "opens the embedded NATS server, but --nats names an outside one")
	}
	return p.err()
}

// nodeName is what is a token of a subject and a key, and reads well in a log.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// validate returns nil or [Problems] with everything that is wrong, beside other settings too.
func (k Cluster) validate(c *Config) error {
	var p Problems
	embedded := k.Listen != ""
	if c.Log.Replicas > 1 && c.Log.NATS == "" && !embedded {
		p.add("replicas", "more than one needs the cluster of --nats or --cluster-listen")
	}
	if k.Node != "" && !nodeName.MatchString(k.Node) {
		p.add("node", "%q is not 1 to 64 letters, digits, - and _", k.Node)
	}
	if k.Node != "" && c.Log.NATS == "" && !embedded {
		p.add("node", "is for several processes on one log: it needs --nats or --cluster-listen")
	}
	if k.RestoreFrom != "" && k.Node == "" {
		p.add("restore-from", "is for the nodes of a cluster; a server that is alone starts on what receiptctl restore makes")
	}
	if k.Copies < 0 {
		p.add("copies", "%d is negative", k.Copies)
	}
	if k.MoveAfter != 0 && k.MoveAfter < minMoveAfter {
		p.add("move-after", "%v is less than %v, which a node may be silent in between", k.MoveAfter, minMoveAfter)
	}
	if !embedded {
		for setting, given := range map[string]bool{
			"cluster-routes": k.Routes != "", "cluster-secret": k.Secret != "",
			"cluster-tls-cert": k.Cert != "", "cluster-tls-key": k.Key != "", "cluster-tls-ca": k.CA != "",
		} {
			if given {
				p.add(setting, "is of no use without --cluster-listen")
			}
		}
		return p.err()
	}
	p.address("cluster-listen", k.Listen)
	p.secret("cluster-secret", k.Secret)
	if n := len(k.Secret.Reveal()); n < minSecret {
		p.add("cluster-secret", "has %d characters, must have %d or more", n, minSecret)
	}
	if given := k.Cert != ""; given != (k.Key != "") || given != (k.CA != "") {
		p.add("cluster-tls-cert", "and --cluster-tls-key and --cluster-tls-ca need each other: nodes prove themselves both ways")
	}
	if k.Node == "" {
		p.add("cluster-listen", "needs --node")
	}
	if routes := k.RouteList(); len(routes) < 3 {
		p.add("cluster-routes", "names %d nodes; a cluster that survives the loss of one has three or more", len(routes))
	} else {
		for i, route := range routes {
			p.address("cluster-routes", route)
			if slices.Contains(routes[:i], route) {
				p.add("cluster-routes", "names %q twice", route)
			}
		}
	}
	if c.Log.NATS != "" {
		p.add("cluster-listen", "forms a cluster of the NATS servers in the nodes, but --nats names an outside one")
	}
	if c.Log.NATSListen != "" {
		p.add("nats-listen", "is not possible with --cluster-listen")
	}
	return p.err()
}

// RouteList is Routes, split.
func (k Cluster) RouteList() (list []string) {
	for route := range strings.SplitSeq(k.Routes, ",") {
		if route = strings.TrimSpace(route); route != "" {
			list = append(list, route)
		}
	}
	return list
}

// CopiesOfLog is how many servers of the cluster hold each partition.
func (c *Config) CopiesOfLog() int {
	if c.Cluster.Listen != "" {
		return max(c.Log.Replicas, 3)
	}
	return c.Log.Replicas
}

// Validate returns nil or [Problems] with everything that is wrong.
func (s State) Validate() error {
	var p Problems
	if s.CacheSize < minCache {
		p.add("cache-size", "%s is less than %s", s.CacheSize, minCache)
	}
	p.duration("checkpoint-interval", s.CheckpointInterval, minCheckpoint, maxCheckpoint)
	if s.SnapshotEvery != 0 {
		p.duration("snapshot-every", s.SnapshotEvery, minSnapshot, maxSnapshot)
	}
	if s.SnapshotRate < minSnapshotRate {
		p.add("snapshot-rate", "%s is less than %s", s.SnapshotRate, minSnapshotRate)
	}
	return p.err()
}

// Validate returns nil or [Problems] with everything that is wrong.
func (s SDK) Validate() error {
	var p Problems
	p.count("max-connections", s.MaxConnections, maxConnections)
	p.count("max-connections-per-user", s.MaxConnectionsPerUser, maxConnections)
	p.count("pending-per-address", s.PendingPerAddress, maxConnections)
	p.duration("provision-timeout", s.ProvisionTimeout, time.Second, maxSilence)
	p.duration("idle-timeout", s.IdleTimeout, minIdle, maxSilence)
	p.duration("write-timeout", s.WriteTimeout, time.Second, maxSilence)
	p.count("frames-per-second", s.FramesPerSecond, maxRate)
	p.count("sends-per-second", s.SendsPerSecond, maxRate)
	p.count("max-users", s.MaxUsers, maxUsers)
	p.count("groups-per-user", s.GroupsPerUser, maxUsers)
	p.count("groups-per-app", s.GroupsPerApp, maxUsers)
	p.count("group-members", s.GroupMembers, maxMembers)
	p.count("invites-per-user", s.InvitesPerUser, maxUsers)
	p.count("invites-per-app", s.InvitesPerApp, maxUsers)
	p.count("invitations-per-group", s.InvitationsPerGroup, maxUsers)
	p.count("invitations-per-invitee", s.InvitationsPerInvitee, maxUsers)
	p.count("invitations-per-inviter", s.InvitationsPerInviter, maxUsers)
	p.count("invitations-per-app", s.InvitationsPerApp, maxUsers)
	p.count("requests-per-user", s.RequestsPerUser, maxRate)
	p.count("requests-per-address", s.RequestsPerAddress, maxRate)
	p.count("inbox-messages", s.InboxMessages, maxInbox)
	p.duration("inbox-age", s.InboxAge, minInboxAge, maxInboxAge)
	if s.InboxSize < minInboxSize {
		p.add("inbox-size", "%s is less than %s", s.InboxSize, minInboxSize)
	}
	return p.err()
}

func (p *Problems) count(setting string, value, most int) {
	if value < 1 || value > most {
		p.add(setting, "%d is not between 1 and %d", value, most)
	}
}

// Validate returns nil or [Problems] with everything that is wrong.
func (l Logging) Validate() error {
	var p Problems
	p.oneOf("log-level", l.Level, "debug", "info", "warn", "error")
	p.oneOf("log-format", l.Format, formatText, formatJSON)
	return p.err()
}

// Validate returns nil or [Problems] with everything that is wrong.
func (a Analytics) Validate() error {
	var p Problems
	if a.ClickHouse != "" {
		p.dsn("clickhouse", a.ClickHouse)
	}
	p.oneOf("analytics-fallback", a.Fallback, FallbackEmbedded, fallbackNone)
	if a.RetainAge < 0 {
		p.add("retain-age", "%s is negative", a.RetainAge)
	}
	return p.err()
}

// covered refuses entries to leave the log of which nothing would be left.
func (p *Problems) covered(c *Config) {
	if c.Analytics.ClickHouse != "" || c.State.SnapshotEvery > 0 {
		return
	}
	const uncovered = "needs --clickhouse or --snapshot-every: entries only leave the log when they are kept there, or covered by snapshots"
	if c.Analytics.RetainAge > 0 {
		p.add("retain-age", uncovered)
	}
	if c.Analytics.RetainSize > 0 {
		p.add("retain-size", uncovered)
	}
}

// dsn refuses what clickhouse-go would take for something else.
func (p *Problems) dsn(setting string, value DSN) {
	parsed, err := url.Parse(value.Reveal())
	if err != nil || parsed.Host == "" || !slices.Contains([]string{"clickhouse", "tcp", "http", "https"}, parsed.Scheme) {
		p.add(setting, "%q is not a DSN like clickhouse://user:password@host:9000/database", value.String())
	}
}

func (p *Problems) oneOf(setting, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.add(setting, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func (p *Problems) duration(setting string, value, least, most time.Duration) {
	if value < least || value > most {
		p.add(setting, "%s is not between %s and %s", value, least, most)
	}
}

func (p *Problems) address(setting, value string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil || strings.ContainsFunc(host, unicode.IsSpace) {
		p.add(setting, "%q is not an address like 127.0.0.1:8080", value)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		p.add(setting, "%q has no port between 0 and 65535", value)
	}
}

// secret refuses what could not travel in a header, and the mask that a printed configuration
// shows: whoever starts a server from such a printout must not get a key that everybody knows.
func (p *Problems) secret(setting string, value Secret) {
	switch text := value.Reveal(); {
	case text == mask:
		p.add(setting, "is the mask of a printed configuration, not a secret")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		p.add(setting, "has characters other than the visible ones of ASCII")
	}
}

// minMoveAfter is more than what a busy machine keeps a node silent for.
const minMoveAfter = 5 * time.Second

// minSecret is how long a secret is at least that others may try to guess.
const minSecret = 16

// minPassword is how long a password is at least, wherever it is asked for.
const minPassword = 8

// guessable refuses a short secret where others than this machine can reach what it opens.
func (p *Problems) guessable(setting string, value Secret, listen string) {
	if n := len(value.Reveal()); n > 0 && n < minSecret && !Loopback(listen) {
		p.add(setting, "has %d characters, which can be guessed: take %d or more, or listen at 127.0.0.1 only", n, minSecret)
	}
}

// Loopback reports whether only this machine can reach an address like 127.0.0.1:8080.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (p *Problems) natsURLs(setting string, value ServerURLs) {
	for _, raw := range strings.Split(value.Reveal(), ",") {
		parsed, err := url.Parse(strings.TrimSpace(raw))
		if err != nil || parsed.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, parsed.Scheme) {
			p.add(setting, "%q is not a URL like nats://host:4222", redact(strings.TrimSpace(raw)))
		}
	}
}
