package main

import (
	"reflect"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
)

// What may be lost is all or what was named, however it is said.
func TestAcceptedLossIsAllOrWhatWasNamed(t *testing.T) {
	ranges := []eventlog.Range{{Stream: "RECEIPTS_0", First: 17, Last: 20}, {Stream: "RECEIPTS_1", First: 4, Last: 4}}
	for _, test := range []struct {
		args    []string
		environ []string
		want    acceptance
		wrong   bool
	}{
		{args: []string{"repair"}},
		{args: []string{"repair", "--accept-loss"}, want: acceptance{any: true}},
		{args: []string{"repair", "--accept-loss", "--json"}, want: acceptance{any: true}},
		{args: []string{"repair", "--accept-loss", "RECEIPTS_0:17-20,RECEIPTS_1:4"}, want: acceptance{ranges: ranges}},
		{args: []string{"repair", "--accept-loss=RECEIPTS_0:17-20,RECEIPTS_1:4", "--data", "d"}, want: acceptance{ranges: ranges}},
		{args: []string{"repair"}, environ: []string{"RECEIPTD_ACCEPT_LOSS=true"}, want: acceptance{any: true}},
		{args: []string{"repair"}, environ: []string{"RECEIPTD_ACCEPT_LOSS=false"}},
		{args: []string{"repair", "--accept-loss", "RECEIPTS_0"}, wrong: true},
		{args: []string{"repair", "--accept-loss=RECEIPTS_0:9-3"}, wrong: true},
	} {
		var c cli
		_, _, err := config.Program{Name: "receiptctl", Foreign: config.Names()}.Parse(&c, test.args, test.environ, helpVars)
		if got := c.Repair.AcceptLoss; (err != nil) != test.wrong || !test.wrong && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q %q: %+v, %v", test.args, test.environ, got, err)
		}
	}
}
