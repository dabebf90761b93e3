package msync_test

import (
	"testing"
)

func TestEveryDeviceSeesEveryMessage(t *testing.T) {
	s := startServer(t, open)
	web, phone, ben := s.login("ann", "web"), s.login("ann", "phone"), s.login("ben", "web")
	ben.ok(ben.sendBody("ann", false, text("one")))
	web.hears("text one from ben")
	phone.hears("text one from ben")
	phone.logout()
	ben.ok(ben.sendBody("ann", false, text("two")))
	web.hears("text two from ben")
	web.ok(web.sendBody("ben", false, text("mine")))
	web.heardOnly("text one from ben", "text two from ben")
	web.logout()

	// The phone knows where it was, across a restart: it gets what the other device took meanwhile,
	// and what was sent from there.
	s.restart()
	phone = s.login("ann", "phone")
	phone.hears("text two from ben", "text mine from ann")
	phone.heardOnly("text two from ben", "text mine from ann")
	// A device nobody has seen starts where the user is.
	s.login("ann", "tablet").heardOnly()
}

// TestOwnDevicesAreToldOfConversationReads: in a group too, where nobody else is; hidden or not;
// and whichever way the conversation was read.
func TestOwnDevicesAreToldOfConversationReads(t *testing.T) {
	s := startServer(t, open)
	s.api("PUT", appPath, `{"group_receipts":{"enabled":true}}`)
	s.api("POST", appPath+"/events?wait=applied", `{"type":"group.created","group":"g","owner":"ann","members":["ben"]}`)
	web, phone, ann := s.login("ben", "web"), s.login("ben", "phone"), s.login("ann", "web")
	ann.ok(ann.sendBody("g", true, text("one")))
	ann.ok(ann.sendBody("ben", false, text("two")))
	texts := []string{"text one from ann", "text two from ann"}
	web.hears(texts...)
	phone.hears(texts...)
	web.ok(web.sendBody("g", true, conversationRead()))
	own := "conversation read by ben"
	phone.hears(own)
	s.api("PUT", appPath+"/users/ben/settings", `{"send_read_receipts":false}`)
	phone.ok(phone.sendBody("ann", false, conversationRead()))
	web.hears(own)
	ann.ok(ann.sendBody("ben", false, text("three")))
	for _, device := range []*client{web, phone} {
		device.hears("text three from ann")
	}
	s.api("POST", appPath+"/events?wait=applied", `{"type":"conversation.read","user":"ben","peer":"ann"}`)
	for _, device := range []*client{web, phone} {
		device.heardOnly(append(texts, own, "text three from ann", own)...)
	}
	for _, told := range ann.told() {
		if told == own {
			t.Error("ann was told of a hidden read")
		}
	}
}

// TestTwoTabsShareADevice: the SDK gives all tabs of a browser the same name.
func TestTwoTabsShareADevice(t *testing.T) {
	s := startServer(t, open)
	one, two, ben := s.login("ann", "web"), s.manual("ann", "web"), s.login("ben", "web")
	ben.ok(ben.sendBody("ann", false, text("x")))
	one.hears("text x from ben")
	one.settle()
	if got := two.tellAll(two.nextPage()); len(got) != 1 || got[0] != "text x from ben" {
		t.Errorf("the other tab was told %q", got)
	}
	one.logout()
	two.cut()
	// The device has what one of its tabs has acknowledged.
	s.login("ann", "web").heardOnly()
}
