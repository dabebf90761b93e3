package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestBytesText(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "1023": 1023, "7B": 7, "1KiB": 1024, "256MiB": 256 << 20, "256 mib": 256 << 20, "2GB": 2e9, "3TiB": 3 << 40,
	} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		var again Bytes
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
			t.Errorf("%d writes itself as %q and reads back as %d, %v", got, got, again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "ten", "9999999999TiB", "1 2", "1MiBs"} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

// Every way a value ends up in a log or a printout, for both types that hold secrets.
func TestSecretsAreNeverPrinted(t *testing.T) {
	c := Default()
	c.HTTP.AdminKey = "swordfish"
	c.Log.NATS = "nats://me:swordfish@a:4222,nats://swordfish@b:4222"
	c.Analytics.ClickHouse = "clickhouse://me:swordfish@a:9000/b?password=swordfish"
	var out bytes.Buffer
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, format+"\n", c)
		fmt.Fprintf(&out, format+"\n", c.HTTP.AdminKey)
		fmt.Fprintf(&out, format+"\n", c.Log.NATS)
		fmt.Fprintf(&out, format+"\n", c.Analytics.ClickHouse)
	}
	for _, format := range []string{formatText, formatJSON} {
		logger := Logging{Level: "info", Format: format}.Logger(&out)
		logger.Info("start", "config", c, "key", c.HTTP.AdminKey, slog.Any("nats", c.Log.NATS))
	}
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteYAML(&out, Sources{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "swordfish") {
		t.Errorf("printed:\n%s", out.String())
	}
	if c.HTTP.AdminKey.Reveal() != "swordfish" || !strings.Contains(c.Log.NATS.Reveal(), "swordfish@a") {
		t.Error("Reveal does not")
	}
}

func TestDSNKeepsWhatIsNotSecret(t *testing.T) {
	for dsn, want := range map[DSN]string{
		"": "", "http://a:8123/b": "http://a:8123/b", "clickhouse://me:pw@a:9000,c:9000/b?secure=1": "clickhouse://me:***@a:9000,c:9000/b?secure=1",
		"clickhouse://a/b?username=me&password=pw": "clickhouse://a/b?username=me&password=***", "pw": "***",
		"http://a/b?http_proxy=http%3A%2F%2Fme%3Apw%40p&jwt=pw":    "http://a/b?http_proxy=***&jwt=***",
		"http://a/b?access_token=pw&token=pw;x=pw&pw#pw":           "http://a/b?access_token=***&token=***&pw=***",
		"clickhouse://me:pw@a/b?Password=pw&dial_timeout=1s&%70=p": "clickhouse://me:***@a/b?Password=***&dial_timeout=1s&%70=***",
	} {
		if got := dsn.String(); got != want {
			t.Errorf("%q prints as %q, want %q", dsn.Reveal(), got, want)
		}
	}
}

func TestServerURLsKeepWhatIsNotSecret(t *testing.T) {
	for text, want := range map[ServerURLs]string{
		"":                             "",
		"nats://a:4222":                "nats://a:4222",
		"nats://me:pw@a:4222, tls://b": "nats://me:***@a:4222,tls://b",
		"nats://token@a":               "nats://***@a",
		"nats://me:p%zz@a":             "***",
		"ws://a:80?access_token=pw":    "ws://a:80?access_token=***",
	} {
		if got := text.String(); got != want {
			t.Errorf("%q: %q, want %q", text.Reveal(), got, want)
		}
	}
}
