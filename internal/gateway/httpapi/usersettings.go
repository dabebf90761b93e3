package httpapi

import (
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// userSettings is what holds for all conversations of a user.
type userSettings struct {
	SendReads      bool `json:"send_read_receipts"`
	SendDeliveries bool `json:"send_delivery_receipts"`
}

// conversationSettings is what holds for one; null is what the user has set for all.
type conversationSettings struct {
	SendReads      *bool `json:"send_read_receipts"`
	SendDeliveries *bool `json:"send_delivery_receipts"`
}

func (a *API) getUserSettings(c *call) error {
	all, err := a.cfg.State.UserSettings(c.app, c.r.PathValue("user"))
	if err != nil {
		return err
	}
	// In force is what every partition has.
	oldest := all[0]
	for _, w := range all {
		if w.Revision < oldest.Revision {
			oldest = w
		}
	}
	answerUserSettings(c, oldest)
	return nil
}

func (a *API) putUserSettings(c *call) error {
	change, err := c.settingsChange(false)
	if err != nil {
		return err
	}
	set, err := a.cfg.Commands.ConfigureUser(c.r.Context(), c.app, c.r.PathValue("user"), change)
	if err != nil {
		return err
	}
	answerUserSettings(c, set)
	return nil
}

func answerUserSettings(c *call, w projections.UserSettings) {
	gateway.WriteJSON(c.w, http.StatusOK, userSettings{w.Reads != events.ChoiceHide, w.Deliveries != events.ChoiceHide})
}

func (a *API) getConversationSettings(c *call) error {
	group, peer, err := a.conversation(c)
	if err != nil {
		return err
	}
	set, err := a.cfg.State.UserSettingsIn(c.app, group, peer, c.r.PathValue("user"))
	if err != nil {
		return noConversation(err)
	}
	answerConversationSettings(c, set)
	return nil
}

func (a *API) putConversationSettings(c *call) error {
	change, err := c.settingsChange(true)
	if err != nil {
		return err
	}
	group, peer, err := a.conversation(c)
	if err != nil {
		return err
	}
	set, err := a.cfg.Commands.ConfigureUserIn(c.r.Context(), c.app, group, peer, c.r.PathValue("user"), change)
	if err != nil {
		return noConversation(err)
	}
	answerConversationSettings(c, set)
	return nil
}

func answerConversationSettings(c *call, w projections.UserSettings) {
	gateway.WriteJSON(c.w, http.StatusOK, conversationSettings{sends(w.Reads), sends(w.Deliveries)})
}

func sends(choice events.Choice) *bool {
	if choice == events.ChoiceNone {
		return nil
	}
	send := choice == events.ChoiceSend
	return &send
}

// settingsChange reads a change of settings. Only those of one conversation may be taken back, by
// null.
func (c *call) settingsChange(null bool) (change gateway.UserSettingsChange, err error) {
	var body struct {
		SendReads      choiceField `json:"send_read_receipts"`
		SendDeliveries choiceField `json:"send_delivery_receipts"`
	}
	if err := c.readJSON(smallBody, &body); err != nil {
		return change, err
	}
	for _, f := range []struct {
		name string
		choiceField
	}{{"send_read_receipts", body.SendReads}, {"send_delivery_receipts", body.SendDeliveries}} {
		if f.choice != nil && *f.choice == events.ChoiceNone && !null {
			return change, invalid(f.name, "null")
		}
	}
	return gateway.UserSettingsChange{Reads: body.SendReads.choice, Deliveries: body.SendDeliveries.choice}, nil
}

// choiceField tells a field that is null from one that is not there.
type choiceField struct{ choice *events.Choice }

func (f *choiceField) UnmarshalJSON(text []byte) error {
	var send *bool
	if err := json.Unmarshal(text, &send); err != nil {
		return err
	}
	choice := events.ChoiceNone
	switch {
	case send == nil:
	case *send:
		choice = events.ChoiceSend
	default:
		choice = events.ChoiceHide
	}
	f.choice = &choice
	return nil
}

// conversation finds what the path names: a group that the user is in, or the peer of a single
// chat. An id that is both is for the caller to tell apart, with the parameter type.
func (a *API) conversation(c *call) (group, peer string, err error) {
	id, user := c.r.PathValue("conversation"), c.r.PathValue("user")
	in := func(group, peer string) (bool, error) {
		_, err := a.cfg.State.UserSettingsIn(c.app, group, peer, user)
		if errors.Is(err, projections.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	switch c.r.URL.Query().Get("type") {
	case "group":
		return id, "", nil
	case "peer":
		return "", id, nil
	case "":
	default:
		return "", "", invalid("type", "neither group nor peer")
	}
	inGroup, err := in(id, "")
	if err != nil {
		return "", "", err
	}
	inChat, err := in("", id)
	switch {
	case err != nil:
		return "", "", err
	case inGroup && inChat:
		return "", "", errTwoConversations
	case inGroup:
		return id, "", nil
	}
	return "", id, nil
}

type unreadBody struct {
	Unread     int             `json:"unread"`
	Messages   []unreadMessage `json:"messages"`
	NextCursor string          `json:"next_cursor"`
}

type unreadMessage struct {
	ID   string `json:"id"`
	From string `json:"from"`
}

func (a *API) getUnread(c *call) error {
	after, limit, err := a.pageOf(c, listUnread)
	if err != nil {
		return err
	}
	group, peer, err := a.conversation(c)
	if err != nil {
		return err
	}
	page, err := a.cfg.State.UnreadMessages(c.app, group, peer, c.r.PathValue("user"), uint64(after), limit)
	if err != nil {
		return noConversation(err)
	}
	body := unreadBody{Unread: page.Unread, Messages: make([]unreadMessage, 0, len(page.Messages)), NextCursor: a.pageCursor(listUnread, int(page.Next))}
	for _, m := range page.Messages {
		body.Messages = append(body.Messages, unreadMessage(m))
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

type positionsBody struct {
	Sent       uint64         `json:"sent"`
	Members    []positionBody `json:"members"`
	NextCursor string         `json:"next_cursor"`
}

type positionBody struct {
	User       string    `json:"user"`
	ReadUpto   uint64    `json:"read_upto"`
	LastReadAt timestamp `json:"last_read_at"`
}

// getPositions is for those who may see the readers of every message of the group. Whoever is not
// in it is not told whether there is such a group.
func (a *API) getPositions(c *call) error {
	from, limit, err := a.pageOf(c, listPositions)
	if err != nil {
		return err
	}
	group := c.r.PathValue("group")
	switch err := c.MaySeePositions(a.cfg.State, c.app, group, &c.settings); {
	case errors.Is(err, gateway.ErrNotMember):
		return errNoConversation
	case errors.Is(err, gateway.ErrDenied) && !errors.Is(err, gateway.ErrHidesReads):
		return errNotVisible
	case err != nil:
		return err
	}
	page, err := a.cfg.State.Positions(c.app, group, from, limit)
	if err != nil {
		return noConversation(err)
	}
	body := positionsBody{Sent: page.Sent, Members: make([]positionBody, 0, len(page.Members)), NextCursor: a.pageCursor(listPositions, page.Next)}
	for _, m := range page.Members {
		body.Members = append(body.Members, positionBody{m.User, m.Watermark, timestamp(m.LastReadAt)})
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

// noConversation says what was not found.
func noConversation(err error) error {
	if errors.Is(err, projections.ErrNotFound) {
		return errNoConversation
	}
	return err
}

// shown is a message as the caller is shown it: without reads, if they are shown nobody's.
func (a *API) shown(c *call, m projections.Message) (projections.Message, error) {
	sees, err := a.seesReads(c, &m)
	if !sees {
		m = m.WithoutReads()
	}
	return m, err
}

// seesReads reports whether the caller is shown the reads of a message.
func (a *API) seesReads(c *call, m *projections.Message) (bool, error) {
	return c.SeesReads(a.cfg.State, m.Conversation(c.app), &c.settings)
}
