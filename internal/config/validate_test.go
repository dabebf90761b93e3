package config

import (
	"errors"
	"testing"
	"time"
)

func TestValidateNamesTheSetting(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string // empty: valid
	}{
		{"no directory", func(c *Config) { c.Data = " " }, "--data: names no directory"},
		{"address without port", func(c *Config) { c.HTTP.Listen = "localhost" }, `--listen: "localhost" is not an address like 127.0.0.1:8080`},
		{"port too large", func(c *Config) { c.HTTP.Listen = ":65536" }, `--listen: ":65536" has no port between 0 and 65535`},
		{"every interface", func(c *Config) { c.HTTP.Listen = ":8080" }, ""},
		{"IPv6", func(c *Config) { c.HTTP.Listen = "[::1]:8080" }, ""},
		{"origins", func(c *Config) { c.HTTP.CORSOrigin = "https://a.example, http://localhost:3000" }, ""},
		{"every origin", func(c *Config) { c.HTTP.CORSOrigin = "*" }, ""},
		{"origin with a path", func(c *Config) { c.HTTP.CORSOrigin = "https://a.example/" }, `--cors-origin: "https://a.example/" is not an origin like https://chat.example.com: a scheme, a host and perhaps a port, in lower case, without a path`},
		{"origin with a wildcard", func(c *Config) { c.HTTP.CORSOrigin = "https://*.example" }, `--cors-origin: "https://*.example" is not an origin like https://chat.example.com: a scheme, a host and perhaps a port, in lower case, without a path`},
		{"body limit too small", func(c *Config) { c.HTTP.MaxBody = 1023 }, "--max-body: 1023 is not between 1KiB and 1GiB"},
		{"smallest body limit", func(c *Config) { c.HTTP.MaxBody = 1024 }, ""},
		{"bodies larger than there is memory for", func(c *Config) { c.HTTP.MaxBody = 17 << 20 }, "--intake-memory: 64MiB is less than four times --max-body, 68MiB"},
		{"large bodies and memory for them", func(c *Config) { c.HTTP.MaxBody, c.Intake.Memory = 17<<20, 68<<20 }, ""},
		{"no events", func(c *Config) { c.HTTP.MaxEventsPerRequest = 0 }, "--max-events-per-request: 0 is not between 1 and 1000000"},
		{"key with a space", func(c *Config) { c.HTTP.AdminKey = "a b" }, "--admin-key: has characters other than the visible ones of ASCII"},
		{"key copied from a printout", func(c *Config) { c.HTTP.AdminKey = mask }, "--admin-key: is the mask of a printed configuration, not a secret"},
		{"a short key within this machine", func(c *Config) { c.HTTP.AdminKey = "k" }, ""},
		{"a short key for everybody", func(c *Config) { c.HTTP.AdminKey, c.HTTP.Listen = "fifteen-letters", ":80" }, "--admin-key: has 15 characters, which can be guessed: take 16 or more, or listen at 127.0.0.1 only"},
		{"a long key for everybody", func(c *Config) { c.HTTP.AdminKey, c.HTTP.Listen = "sixteen--letters", ":80" }, ""},
		{"a short password for everybody", func(c *Config) { c.Log.NATSListen, c.Log.NATSPassword = "0.0.0.0:4222", "p" }, "--nats-password: has 1 characters, which can be guessed: take 16 or more, or listen at 127.0.0.1 only"},
		{"negative partitions", func(c *Config) { c.Log.Partitions = -1 }, "--partitions: -1 is not between 0 and 256"},
		{"too many partitions", func(c *Config) { c.Log.Partitions = 257 }, "--partitions: 257 is not between 0 and 256"},
		{"no DSN", func(c *Config) { c.Analytics.ClickHouse = "localhost:9000" }, `--clickhouse: "***" is not a DSN like clickhouse://user:password@host:9000/database`},
		{"another database", func(c *Config) { c.Analytics.ClickHouse = "mysql://a/b" }, `--clickhouse: "mysql://a/b" is not a DSN like clickhouse://user:password@host:9000/database`},
		{"a cluster", func(c *Config) { c.Analytics.ClickHouse = "clickhouse://me:pw@a:9000,b:9000/db" }, ""},
		{"trimming without an archive", func(c *Config) { c.Analytics.RetainSize = 1 }, "--retain-size: needs --clickhouse or --snapshot-every: entries only leave the log when they are kept there, or covered by snapshots"},
		{"unknown fsync", func(c *Config) { c.Log.Fsync = "never" }, `--fsync: "never" is not one of always, interval`},
		{"two servers", func(c *Config) { c.Log.NATS = "nats://a:4222, tls://b" }, ""},
		{"wrong scheme", func(c *Config) { c.Log.NATS = "http://me:pw@a" }, `--nats: "http://me:***@a" is not a URL like nats://host:4222`},
		{"no scheme", func(c *Config) { c.Log.NATS = "host:4222" }, `--nats: "***" is not a URL like nats://host:4222`},
		{"credentials without a cluster", func(c *Config) { c.Log.NATSCredentials = "f" }, "--nats-credentials: is of no use without --nats"},
		{"no copy", func(c *Config) { c.Log.NATS, c.Log.Replicas = "nats://a", 0 }, "--replicas: 0 is not between 1 and 5"},
		{"copies in one process", func(c *Config) { c.Log.Replicas = 3 }, "--replicas: more than one needs the cluster of --nats or --cluster-listen"},
		{"a node alone", func(c *Config) { c.Cluster.Node = "a" }, "--node: is for several processes on one log: it needs --nats or --cluster-listen"},
		{"a node with a dot", func(c *Config) { c.Log.NATS, c.Cluster.Node = "nats://a", "a.b" }, "--node: \"a.b\" is not 1 to 64 letters, digits, - and _"},
		{"a node of an outside cluster", func(c *Config) { c.Log.NATS, c.Log.Replicas, c.Cluster.Node = "nats://a,nats://b", 3, "a" }, ""},
		{"nodes by themselves", func(c *Config) { c.Cluster = cluster() }, ""},
		{"two nodes by themselves", func(c *Config) { c.Cluster = cluster(); c.Cluster.Routes = "a:1,b:1" }, "--cluster-routes: names 2 nodes; a cluster that survives the loss of one has three or more"},
		{"a node twice", func(c *Config) { c.Cluster = cluster(); c.Cluster.Routes = "a:1,b:1, a:1" }, "--cluster-routes: names \"a:1\" twice"},
		{"fewer copies than nodes", func(c *Config) { c.Cluster = cluster(); c.Cluster.Copies = 2 }, ""},
		{"copies that move at once", func(c *Config) { c.Cluster = cluster(); c.Cluster.MoveAfter = time.Second }, "--move-after: 1s is less than 5s, which a node may be silent in between"},
		{"as many copies as nodes", func(c *Config) { c.Cluster = cluster(); c.Cluster.Copies = 3 }, ""},
		{"a short secret", func(c *Config) { c.Cluster = cluster(); c.Cluster.Secret = "short" }, "--cluster-secret: has 5 characters, must have 16 or more"},
		{"a cluster without a name", func(c *Config) { c.Cluster = cluster(); c.Cluster.Node = "" }, "--cluster-listen: needs --node"},
		{"two clusters", func(c *Config) { c.Cluster = cluster(); c.Log.NATS = "nats://a" }, "--cluster-listen: forms a cluster of the NATS servers in the nodes, but --nats names an outside one"},
		{"routes without a cluster", func(c *Config) { c.Cluster.Routes = "a:1" }, "--cluster-routes: is of no use without --cluster-listen"},
		{"nodes that speak TLS", func(c *Config) { c.Cluster = cluster(); c.Cluster.Cert, c.Cluster.Key, c.Cluster.CA = "c", "k", "a" }, ""},
		{"nodes that speak TLS with anybody", func(c *Config) { c.Cluster = cluster(); c.Cluster.Cert, c.Cluster.Key = "c", "k" }, "--cluster-tls-cert: and --cluster-tls-key and --cluster-tls-ca need each other: nodes prove themselves both ways"},
		{"nodes without a key", func(c *Config) { c.Cluster = cluster(); c.Cluster.Cert, c.Cluster.CA = "c", "a" }, "--cluster-tls-cert: and --cluster-tls-key and --cluster-tls-ca need each other: nodes prove themselves both ways"},
		{"an authority without a cluster", func(c *Config) { c.Cluster.CA = "a" }, "--cluster-tls-ca: is of no use without --cluster-listen"},
		{"copies in a cluster", func(c *Config) { c.Log.NATS, c.Log.Replicas = "nats://a", 3 }, ""},
		{"password without an address", func(c *Config) { c.Log.NATSPassword = "p" }, "--nats-password: is of no use without --nats-listen"},
		{"address without password", func(c *Config) { c.Log.NATSListen = ":4222" }, "--nats-listen: needs --nats-password or --nats-users"},
		{"address with password", func(c *Config) { c.Log.NATSListen, c.Log.NATSPassword = "127.0.0.1:4222", "password" }, ""},
		{"address with a file of users", func(c *Config) { c.Log.NATSListen, c.Log.NATSUsers = "127.0.0.1:4222", "users" }, ""},
		{"address with a short password", func(c *Config) { c.Log.NATSListen, c.Log.NATSPassword = "127.0.0.1:4222", "p" }, "--nats-password: has 1 characters, which can be guessed: take 8 or more"},
		{"certificate without key", func(c *Config) { c.Log.NATSListen, c.Log.NATSUsers, c.Log.NATSCert = "127.0.0.1:4222", "users", "cert" }, "--nats-tls-cert: and --nats-tls-key need each other"},
		{"network of proxies", func(c *Config) { c.HTTP.TrustedProxies = "10.0.0.0/8, 10.1.1.1" }, `--trusted-proxies: "10.1.1.1" is not a network like 10.0.0.0/8 or ::1/128`},
		{"host with a port", func(c *Config) { c.HTTP.Hosts = "chat.example:443" }, `--hosts: "chat.example:443" is not a name like chat.example.com, in lower case and without a port`},
		{"address of an outside cluster", func(c *Config) {
			c.Log.NATSListen, c.Log.NATSPassword, c.Log.NATS = "127.0.0.1:4222", "password", "nats://a"
		}, "--nats-listen: opens the embedded NATS server, but --nats names an outside one"},
		{"cache too small", func(c *Config) { c.State.CacheSize = 1 }, "--cache-size: 1 is less than 8MiB"},
		{"checkpoint too often", func(c *Config) { c.State.CheckpointInterval = time.Millisecond }, "--checkpoint-interval: 1ms is not between 10ms and 1h0m0s"},
		{"no drain", func(c *Config) { c.ShutdownTimeout = 0 }, "--shutdown-timeout: 0s is not between 1ms and 1h0m0s"},
		{"unknown level", func(c *Config) { c.Logging.Level = "loud" }, `--log-level: "loud" is not one of debug, info, warn, error`},
		{"unknown format", func(c *Config) { c.Logging.Format = "" }, `--log-format: "" is not one of text, json`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := Default()
			test.change(&c)
			err := c.Validate()
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			var problems Problems
			if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestZeroConfigReportsEveryComponent(t *testing.T) {
	var problems Problems
	errors.As(Config{}.Validate(), &problems)
	for _, setting := range []string{"data", "shutdown-timeout", "listen", "max-body", "fsync", "cache-size", "log-level"} {
		if !problems.of(setting) {
			t.Errorf("nothing about %s in %v", setting, problems)
		}
	}
}

func cluster() Cluster {
	return Cluster{Node: "a", Listen: "127.0.0.1:6222", Routes: "a:6222, b:6222,c:6222", Secret: "0123456789abcdef"}
}
