# Records what Ruby makes of every line of expressions.txt:
#   TZ=UTC ruby record.rb > cases.txt
# Written with Ruby 3.1; a line is evaluated as Fluentd's record_transformer would, with a fresh record.json each.
require 'json'
require 'time'
require 'date'
require 'socket'
require 'base64'
require 'uri'
require 'cgi'
require 'securerandom'
ENV['HOME_X'] = '/home/x'

class Room
  def evaluate(__code, tag, time, record, tag_parts, tag_prefix, tag_suffix, hostname) = instance_eval(__code)
end

folder = __dir__
source = File.read("#{folder}/record.json")
tag = 'kube.web-01.app.log'
parts = tag.split('.')
File.readlines("#{folder}/expressions.txt", chomp: true).each do |code|
  next if code.empty?
  result = begin
    value = Room.new.evaluate(
      code, tag.dup, Time.at(1_700_000_000, 123_456_789, :nsec), JSON.parse(source), parts.dup,
      parts.each_index.map { |i| parts[0..i].join('.') }, parts.each_index.map { |i| parts[i..].join('.') }, 'web-01.example.com')
    value.inspect
  rescue SyntaxError
    warn "no Ruby: #{code}"
    next
  rescue StandardError => e
    "!#{e.class}: #{e.message.lines.first&.chomp}"
  end
  puts code, "=> #{result.b.gsub("\n", '\n')}"
end
