package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// A tool that is given what the server is given has the server's settings.
func TestToolReadsTheServersConfiguration(t *testing.T) {
	path := writeFile(t, "min-free: 1GiB\njson: true\nwitness: /w\n")
	c, sources, err := Server(path, []string{"serve", "--partitions=3"}, []string{
		"RECEIPTD_CLICKHOUSE=clickhouse://u:pw@db:9000/r", "RECEIPTD_WITNESS=/v", "RECEIPTD_ADMIN_KEY=something-secret",
	})
	if err != nil || c.Log.MinFree != 1<<30 || c.Log.Partitions != 3 || c.Log.Witness != "/v" || c.Analytics.ClickHouse.Reveal() != "clickhouse://u:pw@db:9000/r" {
		t.Errorf("%+v, %v", c, err)
	}
	var names []string
	for _, s := range c.Given(sources) {
		names = append(names, s.Name+" "+s.Source)
		if strings.Contains(s.Value, "pw@") || strings.Contains(s.Value, "something") {
			t.Errorf("the value of %s shows a secret: %s", s.Name, s.Value)
		}
	}
	want := []string{"admin-key RECEIPTD_ADMIN_KEY", "partitions --partitions", "min-free receiptd.yaml:1", "witness RECEIPTD_WITNESS", "clickhouse RECEIPTD_CLICKHOUSE"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("given are %q, want %q", names, want)
	}
}

func TestProblemsOfTheServersConfigurationAreAllTold(t *testing.T) {
	c, _, err := Server("", []string{"--min-free=lots"}, []string{"RECEIPTD_FSYNC=sometimes", "RECEIPTD_INBOX_AGE=5m"})
	problems, ok := errors.AsType[Problems](err)
	if !ok || len(problems) != 2 || c.SDK.InboxAge.Minutes() != 5 {
		t.Errorf("%v, %+v", err, c)
	}
}
