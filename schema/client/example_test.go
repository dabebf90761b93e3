package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/receiptd/receiptd/schema/client"
)

// A message to a group, and who has read it. Against a server that runs, URL is its address and Key
// what it printed where to find.
func Example() {
	server := exampleServer()
	defer server.stop()
	ctx := context.Background()

	c, err := client.New(client.Config{URL: server.URL, App: "acme/chat", Token: client.Key(server.Key)})
	if err != nil {
		log.Fatal(err)
	}
	// An app has group receipts off until they are turned on.
	_, err = c.PutApp(ctx, client.SettingsChange{GroupReceipts: &client.GroupReceiptsChange{Enabled: new(true)}})
	if err != nil {
		log.Fatal(err)
	}
	outcomes, err := c.Apply(ctx,
		client.GroupCreated{Group: "team", Owner: "ann", Members: []string{"ben", "cleo"}},
		client.MessageSent{ID: "m1", From: "ann", Group: "team", Receipt: true},
		client.MessageRead{Message: "m1", User: "ben", Group: "team"},
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(outcomes[2].Outcome)
	m, err := c.GetMessage(ctx, "m1", client.GetMessageParams{Group: "team"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Read, "of", m.Eligible)
	// Output:
	// applied
	// 1 of 2
}

// Events that come one by one, from many goroutines, are sent many in a request.
func ExampleClient_Batch() {
	server := exampleServer()
	defer server.stop()
	ctx := context.Background()
	c := exampleClient(ctx, server)

	b := c.Batch(client.BatchOptions{Events: 1000, Delay: 20 * time.Millisecond, Applied: true})
	var last *client.Ticket
	for i := range 5000 {
		var err error
		last, err = b.Add(ctx, client.MessageSent{ID: fmt.Sprintf("m%d", i), From: "ann", Peer: "ben"})
		if err != nil {
			log.Fatal(err)
		}
	}
	if _, err := last.Wait(ctx); err != nil { // this one is stored and decided
		log.Fatal(err)
	}
	if err := b.Close(ctx); err != nil { // and so are all
		log.Fatal(err)
	}
	list, err := c.GetConversations(ctx, "ben", client.GetConversationsParams{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(list.TotalUnread)
	// Output: 5000
}

// Each event goes out as it comes, on a connection that is opened again when it breaks.
func ExampleClient_Stream() {
	server := exampleServer()
	defer server.stop()
	ctx := context.Background()
	c := exampleClient(ctx, server)

	s := c.Stream(client.StreamOptions{Applied: true})
	ticket, err := s.Add(ctx, client.MessageSent{ID: "m1", From: "ann", Peer: "ben"})
	if err != nil {
		log.Fatal(err)
	}
	outcomes, err := ticket.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(outcomes[0].Outcome)
	if err := s.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: applied
}

// An author is told of reads as they happen, with a token that the backend makes.
func ExampleClient_Follow() {
	server := exampleServer()
	defer server.stop()
	ctx := context.Background()
	backend := exampleClient(ctx, server)
	if _, err := backend.Apply(ctx,
		client.MessageSent{ID: "m1", From: "ann", Peer: "ben"},
		client.MessageRead{Message: "m1", User: "ben", Peer: "ann"},
	); err != nil {
		log.Fatal(err)
	}

	ann, err := client.New(client.Config{
		URL: server.URL, App: "acme/chat", User: "ann",
		Token: func(ctx context.Context, refused string) (string, error) {
			made, err := backend.PostToken(ctx, "ann", client.PostTokenJSONBody{TTL: "1h"})
			return made.Token, err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range ann.Follow(ctx, "ann", "") {
		if err != nil {
			log.Fatal(err)
		}
		switch data := e.Data.(type) {
		case client.Statistic: // what happened while nobody followed
			fmt.Println(data.SingleAck[0].Peer, "has read", data.SingleAck[0].Mid)
		case client.StreamRead: // what happens now
			fmt.Println(data.User, "has read", data.Message)
		}
		break
	}
	// Output: ben has read m1
}

// exampleServer is a server for an example.
func exampleServer() *server {
	s, err := launch()
	if err != nil {
		log.Fatal(err)
	}
	return s
}

// exampleClient is a client with the server's admin key, of an app with the default settings.
func exampleClient(ctx context.Context, s *server) *client.Client {
	c, err := client.New(client.Config{URL: s.URL, App: "acme/chat", Token: client.Key(s.Key)})
	if err == nil {
		_, err = c.PutApp(ctx, client.SettingsChange{})
	}
	if err != nil {
		log.Fatal(err)
	}
	return c
}
