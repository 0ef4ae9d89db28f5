#!/usr/bin/perl
# A backend that is not Python: answers every request after the seconds its query names. server.pl PORT
use strict;
use warnings;
use IO::Socket::INET;

my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 64, ReuseAddr => 1) or die $!;
$SIG{CHLD} = 'IGNORE';
while (1) {
    my $client = $server->accept or next;
    next if fork;
    while (defined(my $request = <$client>)) {
        while (my $line = <$client>) {
            last if $line eq "\r\n";
        }
        select undef, undef, undef, $1 if $request =~ /seconds=([\d.]+)/;
        my $body = qq({"pid":$$});
        syswrite $client, "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    }
    exit;
}
