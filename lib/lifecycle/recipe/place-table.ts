/**
 * Countries and territories: code | name | capital | continent | languages | currency.
 * From the npm package countries-list 3.4.1, Copyright (c) 2014 Annexare Studio, MIT license (models/default/NOTICE).
 * Written by scripts/default-model/places.mjs.
 */
export const placeTable = `
AC|Ascension Island|Georgetown|Africa|English|St. Helena pound
AD|Andorra|Andorra la Vella|Europe|Catalan|euro
AE|United Arab Emirates|Abu Dhabi|Asia|Arabic|United Arab Emirates dirham
AF|Afghanistan|Kabul|Asia|Pashto;Persian;Uzbek;Turkmen|Afghan afghani
AG|Antigua and Barbuda|Saint John's|North America|English|East Caribbean dollar
AI|Anguilla|The Valley|North America|English|East Caribbean dollar
AL|Albania|Tirana|Europe|Albanian|Albanian lek
AM|Armenia|Yerevan|Asia|Armenian;Russian|Armenian dram
AO|Angola|Luanda|Africa|Portuguese|Angolan kwanza
AR|Argentina|Buenos Aires|South America|Spanish;Guarani|Argentine peso
AS|American Samoa|Pago Pago|Oceania|English;Samoan|US dollar
AT|Austria|Vienna|Europe|German|euro
AU|Australia|Canberra|Oceania|English|Australian dollar
AW|Aruba|Oranjestad|North America|Dutch;Panjabi / Punjabi|Aruban florin
AX|Aland|Mariehamn|Europe|Swedish|euro
AZ|Azerbaijan|Baku|Asia|Azerbaijani|Azerbaijani manat
BA|Bosnia and Herzegovina|Sarajevo|Europe|Bosnian;Croatian;Serbian|Bosnia-Herzegovina Convertible mark
BB|Barbados|Bridgetown|North America|English|Barbadian dollar
BD|Bangladesh|Dhaka|Asia|Bengali|Bangladeshi taka
BE|Belgium|Brussels|Europe|Dutch;French;German|euro
BF|Burkina Faso|Ouagadougou|Africa|French;Peul|West African CFA franc
BG|Bulgaria|Sofia|Europe|Bulgarian|euro
BH|Bahrain|Manama|Asia|Arabic|Bahraini dinar
BI|Burundi|Gitega|Africa|French;Kirundi|Burundian franc
BJ|Benin|Porto-Novo|Africa|French|West African CFA franc
BL|Saint Barthelemy|Gustavia|North America|French|euro
BM|Bermuda|Hamilton|North America|English|Bermudan dollar
BN|Brunei|Bandar Seri Begawan|Asia|Malay|Brunei dollar
BO|Bolivia|Sucre|South America|Spanish;Aymara;Quechua|Bolivian boliviano
BQ|Bonaire|Kralendijk|North America|Dutch|US dollar
BR|Brazil|Brasília|South America|Portuguese|Brazilian real
BS|Bahamas|Nassau|North America|English|Bahamian dollar
BT|Bhutan|Thimphu|Asia|Dzongkha|Bhutanese ngultrum
BW|Botswana|Gaborone|Africa|English;Tswana|Botswanan pula
BY|Belarus|Minsk|Europe|Belarusian;Russian|Belarusian ruble
BZ|Belize|Belmopan|North America|English;Spanish|Belize dollar
CA|Canada|Ottawa|North America|English;French|Canadian dollar
CC|Cocos (Keeling) Islands|West Island|Asia|English|Australian dollar
CD|Democratic Republic of the Congo|Kinshasa|Africa|French;Lingala;Kongo;Swahili;Luba-Katanga|Congolese franc
CF|Central African Republic|Bangui|Africa|French;Sango|Central African CFA franc
CG|Republic of the Congo|Brazzaville|Africa|French;Lingala|Central African CFA franc
CH|Switzerland|Bern|Europe|German;French;Italian|Swiss franc
CI|Ivory Coast|Yamoussoukro|Africa|French|West African CFA franc
CK|Cook Islands|Avarua|Oceania|English|New Zealand dollar
CL|Chile|Santiago|South America|Spanish|Chilean peso
CM|Cameroon|Yaoundé|Africa|English;French|Central African CFA franc
CN|China|Beijing|Asia|Chinese|Chinese yuan
CO|Colombia|Bogotá|South America|Spanish|Colombian peso
CR|Costa Rica|San José|North America|Spanish|Costa Rican colón
CU|Cuba|Havana|North America|Spanish|Cuban peso
CV|Cabo Verde|Praia|Africa|Portuguese|Cape Verdean escudo
CW|Curacao|Willemstad|North America|Dutch;Panjabi / Punjabi;English|Caribbean guilder
CX|Christmas Island|Flying Fish Cove|Asia|English|Australian dollar
CY|Cyprus|Nicosia|Europe|Greek;Turkish;Armenian|euro
CZ|Czechia|Prague|Europe|Czech|Czech koruna
DE|Germany|Berlin|Europe|German|euro
DJ|Djibouti|Djibouti|Africa|French;Arabic|Djiboutian franc
DK|Denmark|Copenhagen|Europe|Danish|Danish krone
DM|Dominica|Roseau|North America|English|East Caribbean dollar
DO|Dominican Republic|Santo Domingo|North America|Spanish|Dominican peso
DZ|Algeria|Algiers|Africa|Arabic|Algerian dinar
EC|Ecuador|Quito|South America|Spanish|US dollar
EE|Estonia|Tallinn|Europe|Estonian|euro
EG|Egypt|Cairo|Africa|Arabic|Egyptian pound
EH|Western Sahara|El Aaiún|Africa|Spanish|Moroccan dirham
ER|Eritrea|Asmara|Africa|Tigrinya;Arabic;English|Eritrean nakfa
ES|Spain|Madrid|Europe|Spanish;Basque;Catalan;Galician;Occitan|euro
ET|Ethiopia|Addis Ababa|Africa|Amharic|Ethiopian birr
FI|Finland|Helsinki|Europe|Finnish;Swedish|euro
FJ|Fiji|Suva|Oceania|English;Fijian;Hindi;Urdu|Fijian dollar
FK|Falkland Islands|Stanley|South America|English|Falkland Islands pound
FM|Micronesia|Palikir|Oceania|English|US dollar
FO|Faroe Islands|Tórshavn|Europe|Faroese|Danish krone
FR|France|Paris|Europe|French|euro
GA|Gabon|Libreville|Africa|French|Central African CFA franc
GB|United Kingdom|London|Europe|English|British pound
GD|Grenada|St. George's|North America|English|East Caribbean dollar
GE|Georgia|Tbilisi|Asia|Georgian|Georgian lari
GF|French Guiana|Cayenne|South America|French|euro
GG|Guernsey|St. Peter Port|Europe|English;French|British pound
GH|Ghana|Accra|Africa|English|Ghanaian cedi
GI|Gibraltar|Gibraltar|Europe|English|Gibraltar pound
GL|Greenland|Nuuk|North America|Greenlandic|Danish krone
GM|Gambia|Banjul|Africa|English|Gambian dalasi
GN|Guinea|Conakry|Africa|French;Peul|Guinean franc
GP|Guadeloupe|Basse-Terre|North America|French|euro
GQ|Equatorial Guinea|Malabo|Africa|Spanish;French|Central African CFA franc
GR|Greece|Athens|Europe|Greek|euro
GS|South Georgia and the South Sandwich Islands|King Edward Point|Antarctica|English|British pound
GT|Guatemala|Guatemala City|North America|Spanish|Guatemalan quetzal
GU|Guam|Hagåtña|Oceania|English;Chamorro;Spanish|US dollar
GW|Guinea-Bissau|Bissau|Africa|Portuguese|West African CFA franc
GY|Guyana|Georgetown|South America|English|Guyanese dollar
HN|Honduras|Tegucigalpa|North America|Spanish|Honduran lempira
HR|Croatia|Zagreb|Europe|Croatian|euro
HT|Haiti|Port-au-Prince|North America|French;Haitian|Haitian gourde
HU|Hungary|Budapest|Europe|Hungarian|Hungarian forint
ID|Indonesia|Jakarta|Asia|Indonesian|Indonesian rupiah
IE|Ireland|Dublin|Europe|Irish;English|euro
IL|Israel|Jerusalem|Asia|Hebrew;Arabic|Israeli New shekel
IM|Isle of Man|Douglas|Europe|English;Manx|British pound
IN|India|New Delhi|Asia|Hindi;English|Indian rupee
IO|British Indian Ocean Territory|Diego Garcia|Asia|English|US dollar
IQ|Iraq|Baghdad|Asia|Arabic;Kurdish|Iraqi dinar
IR|Iran|Tehran|Asia|Persian|Iranian rial
IS|Iceland|Reykjavik|Europe|Icelandic|Icelandic króna
IT|Italy|Rome|Europe|Italian|euro
JE|Jersey|Saint Helier|Europe|English;French|British pound
JM|Jamaica|Kingston|North America|English|Jamaican dollar
JO|Jordan|Amman|Asia|Arabic|Jordanian dinar
JP|Japan|Tokyo|Asia|Japanese|Japanese yen
KE|Kenya|Nairobi|Africa|English;Swahili|Kenyan shilling
KG|Kyrgyzstan|Bishkek|Asia|Kyrgyz;Russian|Kyrgyz som
KH|Cambodia|Phnom Penh|Asia|Cambodian|Cambodian riel
KI|Kiribati|South Tarawa|Oceania|English|Australian dollar
KM|Comoros|Moroni|Africa|Arabic;French|Comorian franc
KN|Saint Kitts and Nevis|Basseterre|North America|English|East Caribbean dollar
KP|North Korea|Pyongyang|Asia|Korean|North Korean won
KR|South Korea|Seoul|Asia|Korean|South Korean won
KW|Kuwait|Kuwait City|Asia|Arabic|Kuwaiti dinar
KY|Cayman Islands|George Town|North America|English|Cayman Islands dollar
KZ|Kazakhstan|Astana|Asia|Kazakh;Russian|Kazakhstani tenge
LA|Laos|Vientiane|Asia|Laotian|Laotian kip
LB|Lebanon|Beirut|Asia|Arabic;French|Lebanese pound
LC|Saint Lucia|Castries|North America|English|East Caribbean dollar
LI|Liechtenstein|Vaduz|Europe|German|Swiss franc
LK|Sri Lanka|Colombo|Asia|Sinhalese;Tamil|Sri Lankan rupee
LR|Liberia|Monrovia|Africa|English|Liberian dollar
LS|Lesotho|Maseru|Africa|English;Southern Sotho|Lesotho loti
LT|Lithuania|Vilnius|Europe|Lithuanian|euro
LU|Luxembourg|Luxembourg|Europe|French;German;Luxembourgish|euro
LV|Latvia|Riga|Europe|Latvian|euro
LY|Libya|Tripoli|Africa|Arabic|Libyan dinar
MA|Morocco|Rabat|Africa|Arabic|Moroccan dirham
MC|Monaco|Monaco|Europe|French|euro
MD|Moldova|Chișinău|Europe|Romanian|Moldovan leu
ME|Montenegro|Podgorica|Europe|Serbian;Bosnian;Albanian;Croatian|euro
MF|Saint Martin|Marigot|North America|English;French;Dutch|euro
MG|Madagascar|Antananarivo|Africa|French;Malagasy|Malagasy ariary
MH|Marshall Islands|Majuro|Oceania|English;Marshallese|US dollar
MK|North Macedonia|Skopje|Europe|Macedonian|Macedonian denar
ML|Mali|Bamako|Africa|French|West African CFA franc
MM|Myanmar|Naypyidaw|Asia|Burmese|Myanmar kyat
MN|Mongolia|Ulan Bator|Asia|Mongolian|Mongolian tugrik
MP|Northern Mariana Islands|Saipan|Oceania|English;Chamorro|US dollar
MQ|Martinique|Fort-de-France|North America|French|euro
MR|Mauritania|Nouakchott|Africa|Arabic|Mauritanian ouguiya
MS|Montserrat|Plymouth|North America|English|East Caribbean dollar
MT|Malta|Valletta|Europe|Maltese;English|euro
MU|Mauritius|Port Louis|Africa|English|Mauritian rupee
MV|Maldives|Malé|Asia|Divehi|Maldivian rufiyaa
MW|Malawi|Lilongwe|Africa|English;Chichewa|Malawian kwacha
MX|Mexico|Mexico City|North America|Spanish|Mexican peso
MY|Malaysia|Kuala Lumpur|Asia|Malay|Malaysian ringgit
MZ|Mozambique|Maputo|Africa|Portuguese|Mozambican metical
NA|Namibia|Windhoek|Africa|English;Afrikaans|Namibian dollar
NC|New Caledonia|Nouméa|Oceania|French|CFP franc
NE|Niger|Niamey|Africa|French|West African CFA franc
NF|Norfolk Island|Kingston|Oceania|English|Australian dollar
NG|Nigeria|Abuja|Africa|English|Nigerian naira
NI|Nicaragua|Managua|North America|Spanish|Nicaraguan córdoba
NL|Netherlands|Amsterdam|Europe|Dutch|euro
NO|Norway|Oslo|Europe|Norwegian;Norwegian Bokmål;Norwegian Nynorsk|Norwegian krone
NP|Nepal|Kathmandu|Asia|Nepali|Nepalese rupee
NR|Nauru|Yaren|Oceania|English;Nauruan|Australian dollar
NU|Niue|Alofi|Oceania|English|New Zealand dollar
NZ|New Zealand|Wellington|Oceania|English;Maori|New Zealand dollar
OM|Oman|Muscat|Asia|Arabic|Omani rial
PA|Panama|Panama City|North America|Spanish|Panamanian balboa
PE|Peru|Lima|South America|Spanish|Peruvian sol
PF|French Polynesia|Papeetē|Oceania|French|CFP franc
PG|Papua New Guinea|Port Moresby|Oceania|English|Papua New Guinean kina
PH|Philippines|Manila|Asia|English;Tagalog / Filipino|Philippine peso
PK|Pakistan|Islamabad|Asia|English;Urdu|Pakistani rupee
PL|Poland|Warsaw|Europe|Polish|Polish zloty
PM|Saint Pierre and Miquelon|Saint-Pierre|North America|French|euro
PN|Pitcairn Islands|Adamstown|Oceania|English|New Zealand dollar
PR|Puerto Rico|San Juan|North America|Spanish;English|US dollar
PS|Palestine|Ramallah|Asia|Arabic|Israeli New shekel
PT|Portugal|Lisbon|Europe|Portuguese|euro
PW|Palau|Ngerulmud|Oceania|English|US dollar
PY|Paraguay|Asunción|South America|Spanish;Guarani|Paraguayan guarani
QA|Qatar|Doha|Asia|Arabic|Qatari riyal
RE|Reunion|Saint-Denis|Africa|French|euro
RO|Romania|Bucharest|Europe|Romanian|Romanian leu
RS|Serbia|Belgrade|Europe|Serbian|Serbian dinar
RU|Russia|Moscow|Asia|Russian|Russian ruble
RW|Rwanda|Kigali|Africa|Rwandi;English;French|Rwandan franc
SA|Saudi Arabia|Riyadh|Asia|Arabic|Saudi riyal
SB|Solomon Islands|Honiara|Oceania|English|Solomon Islands dollar
SC|Seychelles|Victoria|Africa|French;English|Seychellois rupee
SD|Sudan|Khartoum|Africa|Arabic;English|Sudanese pound
SE|Sweden|Stockholm|Europe|Swedish|Swedish krona
SG|Singapore|Singapore|Asia|English;Malay;Tamil;Chinese|Singapore dollar
SH|Saint Helena|Jamestown|Africa|English|St. Helena pound
SI|Slovenia|Ljubljana|Europe|Slovenian|euro
SJ|Svalbard and Jan Mayen|Longyearbyen|Europe|Norwegian|Norwegian krone
SK|Slovakia|Bratislava|Europe|Slovak|euro
SL|Sierra Leone|Freetown|Africa|English|Sierra Leonean leone
SM|San Marino|City of San Marino|Europe|Italian|euro
SN|Senegal|Dakar|Africa|French|West African CFA franc
SO|Somalia|Mogadishu|Africa|Somalia;Arabic|Somali shilling
SR|Suriname|Paramaribo|South America|Dutch|Surinamese dollar
SS|South Sudan|Juba|Africa|English|South Sudanese pound
ST|Sao Tome and Principe|São Tomé|Africa|Portuguese|São Tomé & Príncipe dobra
SV|El Salvador|San Salvador|North America|Spanish|US dollar
SX|Sint Maarten|Philipsburg|North America|Dutch;English|Caribbean guilder
SY|Syria|Damascus|Asia|Arabic|Syrian pound
SZ|Eswatini|Lobamba|Africa|English;Swati|Swazi lilangeni
TA|Tristan da Cunha|Edinburgh of the Seven Seas|Africa|English|St. Helena pound
TC|Turks and Caicos Islands|Cockburn Town|North America|English|US dollar
TD|Chad|N'Djamena|Africa|French;Arabic|Central African CFA franc
TF|French Southern Territories|Port-aux-Français|Antarctica|French|euro
TG|Togo|Lomé|Africa|French|West African CFA franc
TH|Thailand|Bangkok|Asia|Thai|Thai baht
TJ|Tajikistan|Dushanbe|Asia|Tajik;Russian|Tajikistani somoni
TK|Tokelau|Fakaofo|Oceania|English|New Zealand dollar
TL|East Timor|Dili|Oceania|Portuguese|US dollar
TM|Turkmenistan|Ashgabat|Asia|Turkmen;Russian|Turkmenistani manat
TN|Tunisia|Tunis|Africa|Arabic|Tunisian dinar
TO|Tonga|Nuku'alofa|Oceania|English;Tonga|Tongan paʻanga
TR|Türkiye|Ankara|Asia|Turkish|Turkish lira
TT|Trinidad and Tobago|Port of Spain|North America|English|Trinidad & Tobago dollar
TV|Tuvalu|Funafuti|Oceania|English|Australian dollar
TW|Taiwan|Taipei|Asia|Chinese|New Taiwan dollar
TZ|Tanzania|Dodoma|Africa|Swahili;English|Tanzanian shilling
UA|Ukraine|Kyiv|Europe|Ukrainian|Ukrainian hryvnia
UG|Uganda|Kampala|Africa|English;Swahili|Ugandan shilling
US|United States|Washington D.C.|North America|English|US dollar
UY|Uruguay|Montevideo|South America|Spanish|Uruguayan peso
UZ|Uzbekistan|Tashkent|Asia|Uzbek;Russian|Uzbekistani som
VA|Vatican City|Vatican City|Europe|Italian;Latin|euro
VC|Saint Vincent and the Grenadines|Kingstown|North America|English|East Caribbean dollar
VE|Venezuela|Caracas|South America|Spanish|Venezuelan bolívar
VG|British Virgin Islands|Road Town|North America|English|US dollar
VI|U.S. Virgin Islands|Charlotte Amalie|North America|English|US dollar
VN|Vietnam|Hanoi|Asia|Vietnamese|Vietnamese dong
VU|Vanuatu|Port Vila|Oceania|Bislama;English;French|Vanuatu vatu
WF|Wallis and Futuna|Mata-Utu|Oceania|French|CFP franc
WS|Samoa|Apia|Oceania|Samoan;English|Samoan tala
XK|Kosovo|Pristina|Europe|Albanian;Serbian|euro
YE|Yemen|Sana'a|Asia|Arabic|Yemeni rial
YT|Mayotte|Mamoudzou|Africa|French|euro
ZA|South Africa|Pretoria|Africa|Afrikaans;English;South Ndebele;Southern Sotho;Swati;Tswana;Tsonga;Venda;Xhosa;Zulu|South African rand
ZM|Zambia|Lusaka|Africa|English|Zambian kwacha
ZW|Zimbabwe|Harare|Africa|English;Shona;North Ndebele|Zimbabwean gold
`;
